"""In which weather each guard is missed soonest when it is switched off."""

from tests.simulation.scheduler import Fault
from tests.simulation.simulation import Weather

WEATHER = {
    "fence": Weather(0.05, (Fault.FREEZE, Fault.HANG), ("chain", "diamond")),
    "ledger": Weather(0.05, (Fault.KILL,), ("chain", "undone")),
    "job lock": Weather(0.2, (Fault.INSIDE,), ("diamond", "for_each")),
    "inbox": Weather(0.0, shapes=("signalled",)),
    "sweep": Weather(0.05, (Fault.KILL,), ("alone",)),
    "drain": Weather(0.1, (Fault.HANG, Fault.DRAIN), ("alone", "undone")),
}
