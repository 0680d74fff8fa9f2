"""Stage compute_flow: RAFT between annotated frames and their neighbours, one file per video.

Reading (`FlowStore`) needs neither torch nor ptlflow.
"""

from losh.flow.flow_store import FlowStore

__all__ = ["FlowStore"]
