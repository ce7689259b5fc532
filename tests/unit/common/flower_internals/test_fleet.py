"""What nodes ask of SuperLink, and how they sign it (pinned to flwr 1.41.x): what has changed?"""

from __future__ import annotations

from common.flower_internals import fleet


def test_headers_and_times_of_a_nodes_signature_are_the_same():
    from flwr.common import constant
    from flwr.supercore import constant as core
    from flwr.supercore.error import ApiErrorCode

    assert core.FLEET_HTTP_PUBLIC_KEY_HEADER == fleet.PUBLIC_KEY_HEADER
    assert core.FLEET_HTTP_SIGNATURE_HEADER == fleet.SIGNATURE_HEADER
    assert constant.TIMESTAMP_HEADER == fleet.TIMESTAMP_HEADER
    assert constant.TIMESTAMP_TOLERANCE == fleet.TIMESTAMP_SECONDS
    assert constant.SYSTEM_TIME_TOLERANCE == fleet.CLOCK_SECONDS
    assert constant.HEARTBEAT_PATIENCE == fleet.MISSED_HEARTBEATS
    assert ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED == fleet.KEY_UNKNOWN


def test_the_paths_of_nodes_are_flowers_less_the_two_that_it_refuses_itself():
    from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES

    paths = {path for _, path in PROTOBUF_REQUEST_TYPES if path.startswith("/v1/fleet/")}
    assert paths - fleet.FLEET_PATHS == {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}
    assert paths >= fleet.FLEET_PATHS


def test_no_object_of_a_message_is_larger_than_the_gateway_takes():
    from flwr.app.message import array
    from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

    from server.deployment.exchange import MEDIA
    from server.deployment.limits import Limits

    assert Limits().body_bytes > 2 * array.FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE
    assert MEDIA == PROTOBUF_MEDIA_TYPE
