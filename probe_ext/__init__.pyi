# For editors and type checkers: the names that __init__.py imports on first access. In a stub, so that at runtime, and
# for the import contracts, the package does not depend on Locust.

from probe_ext.client.reply import Reply as Reply
from probe_ext.measure.table_rows import COLD as COLD
from probe_ext.measure.table_rows import WARM as WARM
from probe_ext.measure.table_rows import WARM_UP as WARM_UP
from probe_ext.prompts.prompt import Prompt as Prompt
from probe_ext.report.analysis.loaded_run import LoadedRun as LoadedRun
from probe_ext.report.analysis.loaded_run import load_run as load_run
from probe_ext.swarm.locustfile_api import StreamingUser as StreamingUser
from probe_ext.swarm.locustfile_api import WorkloadUser as WorkloadUser
from probe_ext.swarm.locustfile_api import events as events

__version__: str
