"""The report: one HTML page that needs nothing else, and the plots in it as files."""
