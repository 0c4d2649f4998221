"""Wire models of Kasal. They need pydantic alone and import nothing of Kasal."""
