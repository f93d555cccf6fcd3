"""Numbers of the embedded world on its documentation page."""
