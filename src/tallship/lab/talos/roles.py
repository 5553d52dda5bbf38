"""Who may call what: the roles in the O of a client's certificate (Talos v1.12)."""

from __future__ import annotations

ADMIN, OPERATOR, READER, BACKUP = "os:admin", "os:operator", "os:reader", "os:etcd:backup"

_OPERATORS = frozenset({ADMIN, OPERATOR})
_READERS = frozenset({ADMIN, OPERATOR, READER})

_TABLE = {
    **dict.fromkeys(("EtcdDefragment", "ImagePull", "Reboot", "ServiceRestart", "Shutdown"), _OPERATORS),
    "EtcdSnapshot": frozenset({ADMIN, OPERATOR, BACKUP}),
    **dict.fromkeys(("EtcdAlarmList", "EtcdMemberList", "EtcdStatus"), _READERS | {BACKUP}),
    **dict.fromkeys(("Dmesg", "Events", "Hostname", "ImageList", "List", "Logs", "ServiceList", "Version"), _READERS),
    **dict.fromkeys(("Get", "ListResources"), _READERS),
}
_ADMINS = frozenset({ADMIN})


def may_call(rpc: str, roles: set[str]) -> bool:
    """True when one of the roles may make the call; what the table does not name is the administrator's."""
    return bool(_TABLE.get(rpc, _ADMINS) & roles)
