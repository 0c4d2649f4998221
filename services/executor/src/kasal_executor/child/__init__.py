"""The isolated process of one attempt: the only place that knows CrewAI.

Import nothing of it from outside but `frames`, which is the wire between a worker and its children.
"""
