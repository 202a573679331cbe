"""Any table of pump against signal: cells, headings, numbers, the columns that are taken, the curve."""
