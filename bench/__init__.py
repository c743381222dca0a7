"""The instrument of the project: python -m bench COMMAND.

servers    the servers under test: ours, the reference, someone else's
load       requests on a server, and what makes a load point count; Locust users
headline   this server against others, with reports
gate       base against head in pairs: the regression gate, its proof, the sweep
micro      the parts alone
indextts2  IndexTTS2 offline, beside the official package

Above them: records (the JSON), metrics (every figure of a sample), workload (texts and arrivals), machine, progress.
"""
