"""The refund agent: look an order up, decide, ask a person above a limit, refund, tell the customer."""
