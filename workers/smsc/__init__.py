"""The simulated message centre: an SMPP 3.4 server whose results the numbers themselves decide."""
