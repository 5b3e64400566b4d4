"""Fuzzing: damaged files, values and requests for every predictor and endpoint; `make fuzz`, docs/fuzzing.md.

formats.py has valid files and knows their parts, mutants.py damages them, values.py makes values for JSON and tables,
targets.py and endpoints.py say what is asked, judge.py says what has failed, worker.py asks in
a process with limits, and campaign.py counts.
"""
