"""Everything of CrewAI that its documentation does not promise, in one place.

`tests/child/test_engine.py` checks each assumption; read it before changing the pinned version.
"""
