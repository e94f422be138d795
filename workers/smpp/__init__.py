"""SMPP 3.4 as a client: the codec, the session over one bind, and what delivery receipts say."""
