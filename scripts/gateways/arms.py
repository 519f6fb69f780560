"""What is put in front of a server: the commands and configurations of each proxy and gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.gateways.software import proxy_path, proxy_version, python_package

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {pool}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{server}; {settings} }} }}
}}
"""
_HAPROXY = """
defaults
  mode http
  timeout connect 10s
  timeout client 10m
  timeout server 10m
  {settings}
frontend in
  bind 127.0.0.1:{port}
  default_backend server
backend server
  server one 127.0.0.1:{upstream}
"""
_CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  reverse_proxy 127.0.0.1:{upstream} {{
    {settings}
  }}
}}
"""
_LITELLM = """
model_list:
  - model_name: "{model}"
    litellm_params: {{model: "openai/{model}", api_base: "http://127.0.0.1:{upstream}/v1", api_key: "none"}}
general_settings: {{dangerously_permit_weak_or_unset_master_key: true}}
"""


@dataclass(frozen=True)
class Arm:
    """One proxy or gateway with one configuration."""

    name: str
    settings: str
    """as the table shows them"""
    version: Callable[[], str]
    command: Callable[[Path, int, int, str], list[str]]
    """from its folder, its port, the port of the server behind it and the model's name"""
    health: str = "/v1/models"
    start_s: float = 30.0


def _proxy(name: str, template: str, file: str, arguments: Callable[[Path], list[str]], label: str, lines: str) -> Arm:
    def command(folder: Path, port: int, upstream: int, model: str) -> list[str]:
        path = folder / file
        values = {"folder": folder, "port": port, "upstream": upstream, "settings": lines, "model": model}
        path.write_text(template.format(**values, pool="", server=f"127.0.0.1:{upstream}"))
        return [proxy_path(name), *arguments(path)]

    return Arm(name, label, lambda: proxy_version(name), command)


def _nginx(label: str, lines: str) -> Arm:
    return _proxy("nginx", NGINX, "nginx.conf", lambda path: ["-p", str(path.parent), "-c", str(path)], label, lines)


def _haproxy(label: str, lines: str) -> Arm:
    return _proxy("haproxy", _HAPROXY, "haproxy.cfg", lambda path: ["-db", "-f", str(path)], label, lines)


def _caddy(label: str, lines: str) -> Arm:
    def arguments(path: Path) -> list[str]:
        return ["run", "--config", str(path), "--adapter", "caddyfile"]

    return _proxy("caddy", _CADDY, "Caddyfile", arguments, label, lines)


def _litellm(folder: Path, port: int, upstream: int, model: str) -> list[str]:
    path = folder / "litellm.yaml"
    path.write_text(_LITELLM.format(upstream=upstream, model=model))
    tools, _ = python_package("litellm")
    return [str(tools / "litellm"), "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]


def _guidellm(_folder: Path, port: int, _upstream: int, model: str) -> list[str]:
    tools, _ = python_package("guidellm")
    timing = ["--ttft-ms", "100", "--itl-ms", "20", "--output-tokens", "100"]
    return [
        str(tools / "guidellm"),
        "mock-server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--model",
        model,
        *timing,
    ]


PROXIES = (
    _nginx("defaults", ""),
    _nginx(
        "`proxy_buffering off; proxy_http_version 1.1;`",
        'proxy_buffering off; proxy_http_version 1.1; proxy_set_header Connection "";',
    ),
    _haproxy("defaults", ""),
    _haproxy("`option http-no-delay`", "option http-no-delay"),
    _caddy("defaults", ""),
    _caddy("`flush_interval -1`", "flush_interval -1"),
    Arm("litellm", "defaults", lambda: python_package("litellm")[1], _litellm, start_s=120.0),
)
MOCK_SERVER = Arm("guidellm", "mock server", lambda: python_package("guidellm")[1], _guidellm, start_s=120.0)
