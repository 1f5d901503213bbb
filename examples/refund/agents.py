"""The refund agent. The model advises, the policy decides, and above the limit a person does."""

from runtime.agents import agent
from runtime.graph import Graph

POLICY = (
    "You decide on refund requests of a shop. An order that was delivered or lost may be refunded in full "
    "when it is refundable; one that is not refundable is refused. Answer with a JSON object and nothing "
    'else: {"decision": "refund" or "refuse", "amount": number, "reason": one sentence}.'
)

ADVICE = {
    "type": "object",
    "required": ["decision", "amount", "reason"],
    "properties": {
        "decision": {"enum": ["refund", "refuse"]},
        "amount": {"type": "number"},
        "reason": {"type": "string"},
    },
}


@agent("refund", version="1")
def refund_agent() -> Graph:
    """Input: `order_id` and the customer's `reason`."""
    g = Graph()
    order = g.tool("order", "query_order", order_id="${input.order_id}")
    g.llm("advice", "Refund order ${order}? The customer says: ${input.reason}", system=POLICY, schema=ADVICE)
    allowed = g.condition(
        "allowed",
        "advice.decision == 'refund' && order.refundable && double(advice.amount) <= double(order.amount)",
    )
    large = g.condition("large", "double(advice.amount) > 100.0")
    approval = g.approval(
        "approval",
        prompt="Refund ${advice.amount} ${order.currency} to ${order.customer} for: ${order.item}?",
        timeout="2d",
        on_timeout="reject",
    )
    refund = g.tool("refund", "refund", order_id=order.ref("id"), amount="${advice.amount}")
    told = g.tool(
        "told", "tell_customer", order_id=order.ref("id"), text="Your refund ${refund.id} is on its way."
    )
    declined = g.tool(
        "declined", "tell_customer", order_id=order.ref("id"), text="We cannot refund ${order.item}."
    )

    allowed.when(True) >> large
    large.when(True) >> approval
    large.when(False) >> refund
    approval.approved >> refund
    refund >> told
    allowed.when(False) >> declined
    approval.rejected >> declined
    g.result({"order": "${input.order_id}", "advice": "${advice}"})
    return g
