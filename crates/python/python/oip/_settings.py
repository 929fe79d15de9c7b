"""The settings as keyword arguments, one for each key of ``docs/configuration.md``. Written by
``tests/settings_text.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict


class Settings(TypedDict, total=False):
    """What ``Server(...)`` takes; sizes and spans of time may be texts with a unit."""

    rest_host: str | None
    fastapi_host: str | None
    rest_port: int | None
    fastapi_port: int | None
    kserve_http_port: int | None
    grpc_host: str | None
    grpc_port: int | None
    kserve_grpc_port: int | None
    port: int | None
    grpc: bool | None
    kserve_enable_grpc: bool | None
    metrics_port: int | None
    metrics_host: str | None
    rest_socket: str | Path | None
    grpc_socket: str | Path | None
    socket_mode: str | None
    model_repository: str | Path | None
    model_name: str | Sequence[str] | None
    model_control: str | None
    poll_interval: float | str | None
    reload: bool | None
    fastapi_reload: bool | None
    worker_threads: int | None
    kserve_workers: int | None
    model_concurrency: int | None
    model_queue: int | None
    onnxruntime_library: str | Path | None
    json_non_finite: str | None
    forward_headers: str | Sequence[str] | None
    cors_origins: str | Sequence[str] | None
    docs: bool | None
    kserve_enable_docs_url: bool | None
    shutdown_delay: float | str | None
    shutdown_grace: float | str | None
    log_level: str | None
    log_format: str | None
    access_log: str | None
    latency_log: bool | None
    kserve_enable_latency_logging: bool | None
    server_timing: str | None
    otlp_endpoint: str | None
    otlp_headers: str | None
    otlp_ca_file: str | Path | None
    service_name: str | None
    trace_sample_ratio: float | None
    payload_log: str | None
    payload_log_sample: float | None
    payload_log_headers: str | None
    payload_log_token_file: str | Path | None
    payload_log_ca_file: str | Path | None
    payload_log_plain_http: bool | None
    grpc_workers: int | None
    body_limit: int | str | None
    header_limit: int | str | None
    header_timeout: float | str | None
    body_timeout: float | str | None
    body_time: float | str | None
    body_memory: int | str | None
    write_timeout: float | str | None
    connection_idle: float | str | None
    connection_age: float | str | None
    keep_alive: float | str | None
    streams: int | None
    connections: int | None
    in_flight: int | None
    request_timeout: float | str | None
    json_depth: int | None
    tensors_limit: int | None
    strings_limit: int | None
    parameters_limit: int | None
    rate_limit: int | None
    rate_burst: int | None
    auth_enabled: bool | None
    auth_secret: str | None
    auth_secret_file: str | Path | None
    auth_key_file: str | Path | None
    auth_jwks_file: str | Path | None
    auth_jwks_url: str | None
    auth_algorithm: str | None
    auth_issuer: str | None
    auth_audience: str | Sequence[str] | None
    auth_subject_claim: str | None
    auth_roles_claim: str | None
    auth_require_exp: bool | None
    auth_leeway: float | str | None
    auth_max_token_bytes: int | str | None
    auth_token_cache: int | None
    auth_jwks_refresh: float | str | None
    auth_jwks_stale: float | str | None
    auth_jwks_timeout: float | str | None
    auth_jwks_ca_file: str | Path | None
    auth_jwks_token_file: str | Path | None
    auth_api_keys_file: str | Path | None
    probe_access: str | None
    pdp: str | None
    pdp_url: str | None
    pdp_timeout: float | str | None
    pdp_cache_ttl: float | str | None
    pdp_ca_file: str | Path | None
    pdp_token_file: str | Path | None
    policy_file: str | Path | None
    policy_mode: str | None
    audit_file: str | Path | None
    audit_key_file: str | Path | None
    audit_failure: str | None
    trusted_proxies: str | Sequence[str] | None
    tls_cert: str | Path | None
    tls_key: str | Path | None
    tls_client_ca: str | Path | None
    tls_client_auth: str | None
    kserve_access_log_format: str | None
    kserve_grpc_max_receive_message_length: int | None
    kserve_timeout_keep_alive: int | None
    kserve_max_threads: int | None
    kserve_max_asyncio_workers: int | None
    kserve_grpc_max_send_message_length: int | None
    kserve_configure_logging: bool | None
    kserve_log_config_file: str | Path | None
    kserve_event_loop: str | None
    kserve_predictor_host: str | None
    kserve_protocol: str | None
    kserve_predictor_protocol: str | None
    kserve_predictor_use_ssl: bool | None
    kserve_predictor_request_timeout_seconds: int | None
    kserve_predictor_request_retries: int | None
    kserve_enable_predictor_health_check: bool | None
