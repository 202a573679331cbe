"""Give pyusb the libusb that comes inside a wheel, so that USB devices work without a system library."""

from __future__ import annotations

import logging
from functools import cache

log = logging.getLogger(__name__)


@cache
def use_packaged_libusb() -> bool:
    """Load the packaged libusb once for this process; return whether a libusb is there.

    pyusb keeps the first library it loads, so whatever asks it later (pyvisa-py, pyseabreeze) gets this one.
    """
    try:
        import libusb_package
        from usb.backend import libusb1
    except ImportError:
        log.exception("pyusb or libusb-package is missing")
        return False
    backend = libusb1.get_backend() or libusb1.get_backend(find_library=libusb_package.find_library)
    return backend is not None
