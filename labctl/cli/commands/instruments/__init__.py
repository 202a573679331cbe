"""Commands that look at instruments one by one."""
