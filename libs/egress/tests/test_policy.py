"""What may be called, judged without any connection."""

import pytest
from kasal_egress import Allow, Endpoint, UrlPolicy, parse_allow
from kasal_egress.errors import EgressRefusedError

REFUSED_ADDRESSES = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "169.254.0.1",
    "168.63.129.16",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101::1",
    "2001:0:1::1",
    "2001:db8::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]

REFUSED_URLS = [
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "unix:///run/docker.sock",
    "data:text/plain,hello",
    "//example.com/",
    "example.com",
    "",
    "http:///path",
    "http://",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1%2f@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http:\\\\127.0.0.1/",
    "http://example.com/\r\nHost: other",
    "http://exa\tmple.com/",
    "http://example.com/\x00",
    "http://exam ple.com/",
    "http://%6cocalhost/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://0177.0.0.1/",
    "http://127.0.0.1./",
    "http://1.2.3.4.5/",
    "http://999.1.1.1/",
    "http://[::1/",
    "http://[fe80::1%25eth0]/",
    "http://[v1.fe80::a]/",
    "http://localhost/",
    "http://LOCALHOST:8000/",
    "http://localhost./",
    "http://ⓛocalhost/",
    "http://api.localhost/",
    "http://metadata/computeMetadata/v1/",
    "http://metadata.google.internal/",
    "http://METADATA.google.internal./",
    "http://kubernetes.default.svc/",
    "http://auth.kasal.svc.cluster.local/",
    "http://a..b/",
    "http://-a.example/",
    "http://example.com/" + "a" * 9_000,
]


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_an_address_that_is_not_public_is_refused_wherever_a_name_leads_to_it(address: str) -> None:
    with pytest.raises(EgressRefusedError):
        UrlPolicy().check_addresses("example.com", 443, [address])


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_url_that_is_unusual_or_internal_is_refused_by_its_text(url: str) -> None:
    with pytest.raises(EgressRefusedError):
        UrlPolicy().check_url(url)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_public_address_is_accepted(address: str) -> None:
    assert UrlPolicy().check_addresses("example.com", 443, [address]) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1/chat/completions?x=1#part",
        "http://1.1.1.1:8080/",
        "https://[2606:4700::1111]/",
        "https://bücher.example/",
        "https://my_bucket.s3.amazonaws.com/a%2Fb",
        "https://localhost.example.com/",
    ],
)
def test_a_usual_url_is_accepted(url: str) -> None:
    assert UrlPolicy().check_url(url).host


def test_fullwidth_digits_are_judged_as_the_address_that_they_spell() -> None:
    target = UrlPolicy().check_url("http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/")
    assert str(target.address) == "127.0.0.1"


def test_one_forbidden_address_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(EgressRefusedError, match="loopback"):
        UrlPolicy().check_addresses("example.com", 443, ["1.1.1.1", "127.0.0.1"])


def test_an_allowed_network_opens_its_addresses_and_no_others() -> None:
    policy = UrlPolicy(allow=parse_allow("10.1.0.0/16"))
    policy.check_addresses("models.corp", 80, ["10.1.2.3"])
    with pytest.raises(EgressRefusedError):
        policy.check_addresses("models.corp", 80, ["10.2.2.3"])


def test_an_allowed_endpoint_opens_one_port_of_one_name() -> None:
    policy = UrlPolicy(allow=parse_allow("ollama:11434"))
    policy.check_addresses("ollama", 11434, ["172.18.0.2"])
    for host, port in (("ollama", 80), ("other", 11434)):
        with pytest.raises(EgressRefusedError):
            policy.check_addresses(host, port, ["172.18.0.2"])


def test_localhost_is_reached_where_its_address_and_port_are_allowed() -> None:
    policy = UrlPolicy(allow=parse_allow("127.0.0.1:11434"))
    assert policy.check_url("http://localhost:11434/").host == "localhost"
    policy.check_addresses("localhost", 11434, ["127.0.0.1"])
    with pytest.raises(EgressRefusedError):
        policy.check_url("http://localhost:11435/")


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "169.254.1.1", "224.0.0.1", "0.0.0.0"])
def test_an_allowed_name_never_leads_to_metadata_or_reserved_addresses(address: str) -> None:
    policy = UrlPolicy(allow=parse_allow("models.corp:80"))
    with pytest.raises(EgressRefusedError):
        policy.check_addresses("models.corp", 80, [address])


def test_metadata_opens_only_by_its_own_address_and_not_by_a_wide_network() -> None:
    with pytest.raises(EgressRefusedError):
        UrlPolicy(allow=parse_allow("0.0.0.0/0")).check_addresses("x", 80, ["169.254.169.254"])
    UrlPolicy(allow=parse_allow("169.254.169.254")).check_addresses("x", 80, ["169.254.169.254"])


def test_loopback_ports_open_on_request_but_private_networks_stay_shut() -> None:
    policy = UrlPolicy(allow_loopback_ports=True)
    policy.check_url("http://localhost:18091/v1")
    policy.check_addresses("localhost", 18091, ["127.0.0.1", "::1"])
    with pytest.raises(EgressRefusedError):
        policy.check_addresses("router", 80, ["192.168.1.1"])


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_a_denied_port_of_this_machine_is_refused_even_where_allowed(address: str) -> None:
    everything = parse_allow("0.0.0.0/0, ::/0")
    policy = UrlPolicy(allow=everything, allow_loopback_ports=True, deny_ports=frozenset({8000}))
    with pytest.raises(EgressRefusedError, match="Kasal itself"):
        policy.check_addresses("localhost", 8000, [address])
    policy.check_addresses("localhost", 8001, [address])


def test_a_denied_port_of_this_machine_says_nothing_about_other_machines() -> None:
    policy = UrlPolicy(allow=parse_allow("10.0.0.0/8"), deny_ports=frozenset({8000}))
    assert policy.check_addresses("vllm.corp", 8000, ["10.1.1.1"]) is None


def test_an_address_of_a_denied_endpoint_is_refused_under_any_name() -> None:
    policy = UrlPolicy(allow=parse_allow("10.0.0.0/8"))
    with pytest.raises(EgressRefusedError, match="Kasal itself"):
        policy.check_addresses("alias.attacker", 5432, ["10.0.0.5"], denied=["10.0.0.5"])


def test_allow_is_read_from_networks_addresses_and_endpoints() -> None:
    allow = parse_allow("10.0.0.0/8, 192.168.7.9\n[fd00::5]:8080 Ollama:11434,")
    assert [str(network) for network in allow.networks] == ["10.0.0.0/8", "192.168.7.9/32"]
    assert allow.endpoints == {Endpoint("fd00::5", 8080), Endpoint("ollama", 11434)}
    assert parse_allow("") == Allow()


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/40", "hostname", "host:port", "http://a:1", "u@h:1", "h:0"])
def test_an_allow_item_that_is_wrong_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=text.partition("/")[0]):
        parse_allow(text)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("postgresql+asyncpg://kasal:pw@DB.corp/kasal", Endpoint("db.corp", 5432)),
        ("amqp://guest:guest@127.0.0.1:5673/", Endpoint("127.0.0.1", 5673)),
        ("https://[::1]/", Endpoint("::1", 443)),
    ],
)
def test_the_endpoint_of_a_url_has_its_usual_port(url: str, endpoint: Endpoint) -> None:
    assert Endpoint.of_url(url) == endpoint
