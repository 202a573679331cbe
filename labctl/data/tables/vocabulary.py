"""Words of headings, in English, German and French, without accents and in lower case, as patterns."""

from __future__ import annotations

ERRORS = (
    r"\b(?:err|errors?|err[xy]|[xy] ?err(?:or)?|err\w?|std(?:ev|dev)?|stdabw|st ?dev|sd|sem|se|"
    r"sigma\w*|uncert\w*|unc|deviation|dev"
    r"|fehler\w*|\w*fehler|unsicherheit|\w*abweichung|erreur|incertitude|ecart(?: type)?|delta|u|"
    r"confidence|ci|ci95|spread|scatter"
    r"|streuung|rel err|tolerance)\b|±|\+ ?-|[a-z](?:err|std|sigma|stdev)$|^d(?:pl|signal|fluence|"
    r"intensity|counts|f|i|s|y|x|e|p)$"
)
SETS = (
    r"(?:set|soll|nominal)$|\b(?:set|setp\w*|set ?point|setting|nominal\w*|target|requested|"
    r"request|command\w*|soll\w*|"
    r"\w*soll|consigne|programmed|wanted|demand\w*|planned|intended|wunsch|vorgabe)\b"
)
SUBTRACTED = (
    r"subtract|correct|minus|remov|abzug|abgezogen|korrigiert|corrig|soustrait|sub\b|without|"
    r"w o\b|ohne|net\b|netto|[a-z] - |free"
)
NO_WIDTHS = r"fluen|over fwhm|integrat|pulse|within"
MINUS_DARK = r"\w\s*[-−–]\s*(?:dark|back|bkg|bg|dunkel)"
AXIS_KINDS = ("", "length", "wavenumber", "photon energy", "arbitrary")
DARKS = (
    r"\b(?:dark\w*|background\w*|bkg|bgnd|bgd?|baseline|blank|offset|pedestal|dunkel\w*|"
    r"\w*untergrund|hintergrund\w*|fond|bruit|noise\w*|rauschen|rms|obscur\w*)\b"
)
WIDTHS = (
    r"fwhm|hwhm|line ?width|\bwidths?\b|halbwert|linienbreite|\bbreite\b|largeur|\bbandwidth|"
    r"spectral width|\bw?hm\b"
)
WAVELENGTHS = (
    r"wavelength|\blambda|wellenlange|longueur d ?onde|raman|wave ?number|wellenzahl|"
    r"nombre d ?onde|photon energy|pixel|\bwl\b|peak (?:position|pos|centre|center|wave)|centroid|"
    r"\bcent(?:er|re)\b|^nm$"
)
LINES = r"^(?:number of (?:laser |lasing )?(?:peaks|lines)|(?:peak|line) ?counts?|n ?peaks)$"
INDICES = (
    r"^(?:#|index|idx|ind|no|nr|num|number|nummer|n|i|j|k|id|point|points|pt|pts|punkt|messpunkt|"
    r"mess(?:ung)?|measurement|meas|row|zeile|ligne|scan|shot|run"
    r"|file|frame|step|position|pos|sample|probe|spot|sweep|entry|lfd nr|laufende nummer|"
    r"unnamed 0|record|serial|sn|seq|sequence|numero|n o|cycle|repeat|level)"
    r"(?: ?(?:#|no|nr|num|number|index|id|i|n|name))?$"
)
TIMES = (
    r"\b(?:time|times|timestamp|date|datum|zeit\w*|\w*zeit|uhrzeit|temps|heure|elapsed|duration|"
    r"dauer|duree|delay|exposure|exposures|integration|t int|belichtung\w*)\b"
)
SETTINGS = (
    r"\b(?:angle|winkel|hwp|wave ?plate|half ?wave|polari[sz]\w*|rotat\w*|stage|motor|mount|"
    r"filter\w*|od|nd|optical density|attenuat\w*|transmi\w*|abschwach\w*|stellung"
    r"|position|slit|spalt|gain|voltage pmt|temperature|temp|temperatur|humidity|"
    r"rep(?:etition)? ?rate|rep|frequency|frequenz|duty|beam (?:size|diameter|radius|area)|"
    r"spot (?:size|diameter|radius|area)"
    r"|area spot|strip\w*|depth|thickness|distance|pulse ?width|pulse duration|saturation|flags?|"
    r"status|ok|valid|quality)\b"
)
REPEATS = (
    r"^(?:averages?|repeats?|n avg|navg|n averages|mittelungen|shots averaged|n shots|n rep|"
    r"replicates|samples averaged|accumulations?|number of (?:averages|shots|spectra|repeats))$"
)
OTHERS = (
    r"\b(?:left out|removed|dose|ratio|slope|r2|r ?squared|q|q factor|quality factor|cv|chi2|"
    r"residuals?|fit|fitted|model|efficiency|gain|comment|remark|note|reference|ref|monitor|"
    r"threshold|absor\w*|reflect\w*|polarization|normali[sz]ation|exponent)\b"
)
PUMPS = (
    r"pump|fluence|fluenz|fluences?|excit|anreg|pompe|pompage|\bincident|\binput\b|einfall|"
    r"eingang|\bentree|\bdriv|inject|\bexc?\b|pulse ?energ|impuls ?energ|puls ?energ|energie ?par|"
    r"energie (?:d )?impuls"
    r"|energy density|energiedichte|energie ?dichte|densite (?:d )?energie|power density|"
    r"leistungsdichte|irradian|bestrahl|eclair|\bp ?(?:in|pump|exc|ex|inc)\b|\be ?(?:p|in|pump|"
    r"exc|ex|pulse|puls|inc)\b|\bf ?(?:p|pump|exc|in)?\b"
    r"|\bi ?(?:p|pump|exc|ex|in|ld|drive|inj)\b|\blaser (?:power|energy|pulse|fluence|current|"
    r"leistung|energie|strom)|laserleistung|laserenergie|laser ?strom|\bbias\b|flux laser|"
    r"spot energy|puissance (?:de |du )?(?:pompe|laser)|carrier densit|ladungstragerdichte|"
    r"densite de porteurs"
)
SIGNALS = (
    r"signal|\bpl\b|\bel\b|emission|\bemis|emitted|\base\b|lasing|output|\bout\b|ausgang|sortie|"
    r"intensit|integral|integrat|\barea\b|flache|\baire\b|\bsurface\b|\bcounts?\b|\bcts\b|\bcps\b|"
    r"yield|ausbeute|rendement|detect|detekt|photo ?diode|\bpd\b"
    r"|\bpmt\b|\bapd\b|\bccd\b|spectromet|spektromet|luminesc|lumineszenz|\blight\b|\blicht|"
    r"lumiere|\bl\b|amplitude|\bamp\b|height|hohe|hauteur|bright|hellig|\bp ?out\b|\be ?out\b|"
    r"\bi ?(?:out|pl|em|det|sig|ase|l)\b|\bs\b|coups|zahlrate|response|antwort|reponse|fluoresc|"
    r"fluoreszenz"
    r"|radian|luminan|\blum\b|\by\b|photo ?current|photostrom|photo ?voltage|lock ?in|peak|"
    r"maximum|\bmax\b|\bsum\b|summe|somme"
)
STRONG_PUMP = r"pump|excit|anreg|pompe|incident|\binput\b|fluence\b|fluenz|inject|drive|\bexc\b"
PUMPED = (
    r"(?:emission|signal|pl|output|light|absorb\w*|counts?|intensity) (?:vs|over|per|by|at|under|"
    r"normali[sz]ed|nach|bei) |(?:pump|power|fluence|excitation) ?(?:normali[sz]ed|corrected|normiert)"
)

BY_WORD = (
    (r"fluen|energy density|energiedichte|energie ?dichte|densite (?:d )?energie", "fluence"),
    (r"power density|leistungsdichte|irradian|bestrahl|intensit|densite de puissance", "intensity"),
    (r"energ|^e\b", "pulse energy"),
    (r"power|pwr|leistung|puissance|^p\b|^p ?in$", "power"),
    (r"current|strom|courant|curr\b|\bi ?(?:ld|drive|inj)\b", "current"),
    (r"volt|spannung|tension", "voltage"),
    (r"carrier dens|ladungstrager|porteurs", "carrier density"),
)
