"""For processes that a test starts with this folder in PYTHONPATH: pyusb finds the bus that it serves."""

import os
import sys

if os.environ.get("LABCTL_TEST_USBIP"):
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    from usbip_backend import stand_in_if_asked

    stand_in_if_asked()
