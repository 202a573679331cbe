"""The annotated bench file that ``labctl init`` prints: complete, and valid as it stands."""

EXAMPLE = """\
# bench.toml: one optical bench, as labctl sees it.
#
# Values are plain numbers in the unit of the key (wavelength_nm = 800), or text with a unit
# ("2.5 mW", "100 nJ", "35 fs", "100 um"). Unknown keys are errors. Lines that begin with "# " and a key
# are optional and show the default, or an example where there is none.
#
#     labctl check --bench bench.toml      connects, and lists the instruments that answer
#     labctl sweep --bench bench.toml --start 20 --stop 200 --points 24 --sample NAME --output DIR

[bench]
name = "upconversion bench"
# visa_library = "@py"        # pyvisa-py; "" uses the vendor's VISA, or the one named in PYVISA_LIBRARY
# time_scale = 1.0            # bench seconds per second; other than 1 only on a simulated bench

# A half-wave plate in a rotation mount before a polariser, or a gradient filter wheel in one.
[attenuator]
driver = "thorlabs-ell14"
resource = "ASRL3::INSTR"     # COM3 on Windows; "ASRL/dev/ttyUSB0::INSTR" on Linux
address = "0"                 # of the mount on its bus, 0 to F

[power_meter]
driver = "thorlabs-pm100"
resource = "USB0::0x1313::0x8078::P0000001::INSTR"
averages = 100                # readings the meter averages into one
# settling_s = 0.5            # of the sensor; default: from the type of head

# The serial number, "first" for the only one connected, or MODEL@HOST:PORT for one on the network.
[spectrometer]
driver = "ocean"
resource = "first"
resolution_nm = 0.15          # FWHM of a narrow line (a lamp's); Q needs it
# resolution_sigma_nm = 0.008  # its standard error; it is part of the error of Q
# saturation_counts = 60000    # where the detector clips, if that is below the converter's maximum
# trigger = "edge"            # with the laser's trigger output wired to it: exact pulses in every exposure

[shutter]
driver = "thorlabs-sc10"
resource = "ASRL4::INSTR"
travel_s = 0.05               # longest time from the command to the blade's end position
# self_closing = true         # its single mode ends the light even if the computer dies; see docs/safety.md

# Optional instruments: a stage that carries a knife edge, a thermometer at the sample, a heater under it.
#     [stage]
#     driver = "thorlabs-ell20"
#     resource = "ASRL5::INSTR"
#     [thermometer]
#     driver = "scpi-thermometer"
#     resource = "ASRL6::INSTR"
#     [heater]
#     driver = "thorlabs-tc200"
#     resource = "ASRL7::INSTR"
#     max_temperature_c = 80    # more is refused, by labctl and by the controller

[pump]
wavelength_nm = 800.0
repetition_rate_hz = 1000.0
pulse_width_fs = 35.0         # at the sample, not at the laser; leave it out if unknown
photon_order = 2              # photons that excite the sample together: 1 to 4
convention = "peak"           # every fluence in labels, limits and files: "peak" or "average" over the spot
pickoff_ratio = 24.0          # power on the sample / power on the meter, measured with a second meter
max_pulse_energy = "200 nJ"   # on the sample at full transmission; used to plan, never to report
incidence_deg = 0.0
# The elements along the beam, laser first. A pick-off behind the shutter is dark with it closed.
order = ["attenuator", "pick-off", "shutter", "sample"]
# Relative standard uncertainties of the CALIBRATION (0.03 = 3 %): systematic, common to all
# points, and stated with a threshold.
meter_sigma_rel = 0.03
pickoff_sigma_rel = 0.01
spot_sigma_rel = 0.02         # of the radius; it enters the fluence twice
# repetition_sigma_rel = 0.0
# drift_sigma_rel = 0.0        # of the chain between meter and sample, since it was measured
# meter_zero_sigma = "1 nW"    # what the meter shows in the dark, where the shutter cannot darken it
# angle_sigma_deg = 0.05       # repeatability of the mount
# What happens within a run, and is part of each threshold's interval:
#     fluence_wander_rel = 0.02     # slow wander of the fluence unseen by the meter (pointing, pick-off)
#     fluence_wander_time_s = 600   # time after which 1/e of it is left; the two belong together
# pulse_cv = 0.02              # scatter of the pulses' energies, standard deviation over mean
# pulse_cv_sigma = 0.002       # its standard error; labctl calibrate energy measures both

[pump.spot]
shape = "gaussian"            # 1/e2 radii; "ellipse": semi-axes of a flat top; "stripe": half-lengths
x_um = 100.0
y_um = 100.0

# Malus' law, T = t_min + (t_max - t_min) cos^2 2(angle - zero) ...
[pump.attenuator_curve]
kind = "malus"
zero_deg = 12.0               # angle of maximum transmission
t_min = 0.002                 # extinction: the minimum transmission is never zero
t_max = 1.0
branch = "+"                  # the 45 degrees above ("+") or below ("-") the zero
# ... or a measured, monotone table instead:
# kind = "table"
# angle_deg = [0.0, 90.0, 180.0, 270.0]
# transmission = [0.9, 0.3, 0.05, 0.004]

# Checked before anything moves and again at every point. The first four are required: without them labctl
# does not connect. labctl is not a safety interlock.
[limits]
max_fluence_uj_cm2 = 700.0    # in the convention above
max_pulse_energy = "150 nJ"   # on the sample
max_average_power = "0.15 mW" # on the sample
max_dose_uj_cm2 = 5e7         # sum of fluence x pulses over one run
# angle_range_deg = [0.0, 90.0]
# set_ratio = 0.2             # allowed disagreement between the energy asked for and the one measured

# Default: everything between the pump and its harmonic.
[bands]
emission_nm = [505.0, 560.0]  # the whole emission, the default signal
lasing_nm = [530.0, 556.0]    # where the sharp peaks appear

# The part of a Gaussian spot whose emission is collected; leave it out if unknown.
#     [collection]
#     radius_um = 30.0          # on the sample, centred on the spot; or edge_fluence_rel = 0.8 of the peak

# Calibrations of this bench (labctl calibrate ... --use writes these lines), paths relative to this file.
# A calibration overrides the keys of [pump] that it supplies; those keys may then be omitted, e.g.
#     attenuator = "calibrations/attenuator-20261123-101500.json"
#     pickoff = "calibrations/pickoff-20261123-103000.json"
#     energy, spot and spectrometer likewise
# A calibration of another serial number is refused before any light. labctl budget shows the uncertainties.
[calibrations]
# expired = "warn"            # or "refuse"
# required = ["attenuator"]   # kinds without which labctl does not connect
"""
