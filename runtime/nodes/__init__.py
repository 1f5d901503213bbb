"""Node kinds. Each is one class with `validate(config)` and `run(step, context)`; custom kinds register here too."""

from runtime.nodes.approval import ApprovalNode
from runtime.nodes.base import Node
from runtime.nodes.compensation import CompensationNode
from runtime.nodes.condition import ConditionNode
from runtime.nodes.function import FunctionNode
from runtime.nodes.llm import LlmNode
from runtime.nodes.map import MapNode
from runtime.nodes.plan import PlanNode
from runtime.nodes.registry import discover, get, register, registered
from runtime.nodes.subjob import SubjobNode
from runtime.nodes.timer import TimerNode
from runtime.nodes.tool import ToolNode
from runtime.nodes.wait import WaitNode

for _node in (
    ToolNode(),
    LlmNode(),
    FunctionNode(),
    ConditionNode(),
    ApprovalNode(),
    WaitNode(),
    TimerNode(),
    MapNode(),
    PlanNode(),
    SubjobNode(),
    CompensationNode(),
):
    register(_node)

__all__ = ["Node", "discover", "get", "register", "registered"]
