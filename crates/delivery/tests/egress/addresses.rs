//! Every kind of address that must not be connected to, and some that may.

use delivery::egress::{Network, forbidden};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[test]
fn special_addresses_are_refused_with_their_kind() {
    let table = [
        ("0.0.0.0", "this network"),
        ("0.255.255.255", "this network"),
        ("10.0.0.1", "private"),
        ("10.255.255.255", "private"),
        ("100.64.0.0", "carrier-grade NAT"),
        ("100.127.255.255", "carrier-grade NAT"),
        ("100.100.100.200", "metadata service"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", "metadata service"),
        ("169.254.0.1", "link-local"),
        ("169.254.169.254", "metadata service"),
        ("169.254.170.2", "metadata service"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.8", "protocol assignments"),
        ("192.0.0.192", "metadata service"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "6to4 relay"),
        ("192.168.0.1", "private"),
        ("198.18.0.1", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.9", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::7f00:1", "IPv4 inside IPv6"),
        ("::ffff:127.0.0.1", "IPv4 mapped into IPv6"),
        ("::ffff:8.8.8.8", "IPv4 mapped into IPv6"),
        ("::ffff:0:10.0.0.1", "IPv4 translated into IPv6"),
        ("64:ff9b::a9fe:a9fe", "IPv4 behind NAT64"),
        ("64:ff9b::8.8.8.8", "IPv4 behind NAT64"),
        ("64:ff9b:1::1", "IPv4 behind NAT64"),
        ("100::1", "discard"),
        ("2001::1", "IPv4 inside Teredo"),
        ("2001:10::1", "protocol assignments"),
        ("2001:db8::1", "documentation"),
        ("2002:7f00:1::1", "IPv4 inside 6to4"),
        ("2002:a9fe:a9fe::", "IPv4 inside 6to4"),
        ("2600::5efe:127.0.0.1", "IPv4 inside ISATAP"),
        ("2600::200:5efe:10.0.0.1", "IPv4 inside ISATAP"),
        ("3fff::1", "documentation"),
        ("4000::1", "not global unicast"),
        ("5f00::1", "segment routing"),
        ("fc00::1", "unique local"),
        ("fd00:ec2::254", "metadata service"),
        ("fd20:ce::254", "metadata service"),
        ("fdff::1", "unique local"),
        ("fe80::1", "link-local"),
        ("febf::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
    ];
    for (address, why) in table {
        assert_eq!(forbidden(address.parse().unwrap()), Some(why), "{address}");
    }
}

#[test]
fn public_addresses_beside_the_special_ones_pass() {
    let table = [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700::1111",
        "2a00:1450::1",
        "3ffe::1",
    ];
    for address in table {
        assert_eq!(forbidden(address.parse().unwrap()), None, "{address}");
    }
}

proptest! {
    /// Against what the standard library knows, which is less, and independent of our table.
    #[test]
    fn what_the_standard_library_calls_special_is_refused(v4 in any::<u32>(), v6 in any::<u128>(), near in 0_usize..8) {
        let v4 = Ipv4Addr::from(v4);
        if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast() || v4.is_documentation()
            || v4.is_multicast() || v4.is_unspecified()
        {
            prop_assert!(forbidden(IpAddr::V4(v4)).is_some());
        }
        // Random bits alone would hardly meet a special range.
        let prefixes = [0xFC_u128 << 120, 0xFE80 << 112, 0xFF << 120, 0, 0xFFFF << 32, 0x2002 << 112, 0x2001_0DB8 << 96, 1];
        let v6 = Ipv6Addr::from((v6 >> 32) & 0xFFFF_FFFF | prefixes[near]);
        let embedded = v6.to_ipv4().is_some();
        if v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unique_local()
            || v6.is_unicast_link_local() || embedded
        {
            prop_assert!(forbidden(IpAddr::V6(v6)).is_some(), "{}", v6);
        }
    }

    /// No IPv4 address gets through in an IPv6 form.
    #[test]
    fn embedded_forms_are_refused_whatever_they_carry(v4 in any::<u32>()) {
        let low = u128::from(v4);
        let forms = [
            low, 0xFFFF << 32 | low, 0xFFFF << 48 | low, 0x0064_FF9B << 96 | low, 0x2002 << 112 | low << 80,
            0x2001_0000 << 96 | low,
        ];
        for form in forms {
            prop_assert!(forbidden(IpAddr::V6(Ipv6Addr::from(form))).is_some(), "{}", Ipv6Addr::from(form));
        }
    }

    /// A range holds exactly the addresses that share its prefix, by counting bits one at a time.
    #[test]
    fn ranges_hold_what_shares_their_prefix(base in any::<u32>(), bits in 0_u8..=32, probe in any::<u32>(), flip in 0_u32..32) {
        let bit = |number: u32, place: u8| number >> (31 - u32::from(place)) & 1;
        let clean = (0..32_u8).filter(|place| *place < bits).fold(0, |all, place| all | bit(base, place) << (31 - u32::from(place)));
        let text = format!("{}/{bits}", Ipv4Addr::from(clean));
        let network = Network::parse(&text).unwrap();
        for address in [probe, clean, clean ^ (1 << flip)] {
            let expected = (0..bits).all(|place| bit(address, place) == bit(clean, place));
            prop_assert_eq!(network.contains(IpAddr::V4(Ipv4Addr::from(address))), expected);
        }
    }
}

#[test]
fn ranges_that_are_not_ranges_are_refused() {
    for text in [
        "",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "fd00::/129",
        "fd00::1/8",
        "10/8",
        "a/8",
        "10.0.0.0/-1",
        "10.0.0.0/",
    ] {
        assert_eq!(Network::parse(text), None, "{text}");
    }
    for text in ["0.0.0.0/0", "::/0", "10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8"] {
        assert!(Network::parse(text).is_some(), "{text}");
    }
}
