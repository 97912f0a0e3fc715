//! Which addresses may be connected to.
//!
//! The ranges are those of the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and later entries) that are
//! not globally reachable, the forms that carry an IPv4 address inside IPv6, and metadata services of cloud providers.

use std::net::IpAddr;
use std::sync::LazyLock;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or a single address. Bits beyond the prefix must be zero.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let width = width_of(address);
        let network = Self { address, prefix_bits: bits.unwrap_or(width) };
        let fits = network.prefix_bits <= width && bits_of(address, network.prefix_bits) == network.prefix();
        let clean = host_bits(address, network.prefix_bits) == 0;
        (fits && clean).then_some(network)
    }

    /// Whether the address lies in the range. An IPv6 form of an IPv4 address lies in no IPv4 range.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && bits_of(address, self.prefix_bits) == self.prefix()
    }

    fn prefix(&self) -> u128 {
        bits_of(self.address, self.prefix_bits)
    }
}

fn width_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The first bits of an address.
fn bits_of(address: IpAddr, bits: u8) -> u128 {
    let rest = u32::from(width_of(address).saturating_sub(bits));
    number_of(address).checked_shr(rest).unwrap_or(0)
}

/// The bits behind the first ones.
fn host_bits(address: IpAddr, bits: u8) -> u128 {
    let rest = u32::from(width_of(address).saturating_sub(bits));
    let mask = 1_u128.checked_shl(rest).map_or(u128::MAX, |power| power - 1);
    number_of(address) & mask
}

/// First match wins, so what is more telling stands first.
const FORBIDDEN: &[(&str, &str)] = &[
    // Metadata services: AWS, Google, Azure and others; Azure's host; Alibaba; Oracle; AWS over IPv6.
    ("169.254.169.254/32", "metadata service"),
    ("169.254.170.2/32", "metadata service"),
    ("168.63.129.16/32", "metadata service"),
    ("100.100.100.200/32", "metadata service"),
    ("192.0.0.192/32", "metadata service"),
    ("fd00:ec2::/32", "metadata service"),
    ("fd20:ce::254/128", "metadata service"),
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4 mapped into IPv6"),
    ("::ffff:0:0:0/96", "IPv4 translated into IPv6"),
    ("::/96", "IPv4 inside IPv6"),
    ("64:ff9b::/96", "IPv4 behind NAT64"),
    ("64:ff9b:1::/48", "IPv4 behind NAT64"),
    ("100::/64", "discard"),
    ("100:0:0:1::/64", "dummy"),
    ("2001::/32", "IPv4 inside Teredo"),
    ("2001::/23", "protocol assignments"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "IPv4 inside 6to4"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "unique local"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
];

/// The table, read once.
static RANGES: LazyLock<Vec<(Network, &'static str)>> = LazyLock::new(|| {
    FORBIDDEN.iter().filter_map(|(text, why)| Network::parse(text).map(|range| (range, *why))).collect()
});

/// 2000::/3 is the only IPv6 range that is given out for the public Internet.
fn is_global_unicast(address: IpAddr) -> bool {
    bits_of(address, 3) == 0b001
}

/// Why an address must not be connected to; `None` if it may be.
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    let known = RANGES.iter().find(|(range, _)| range.contains(address)).map(|(_, why)| *why);
    // An IPv6 interface identifier of the ISATAP form carries an IPv4 address (RFC 5214).
    let isatap = match address {
        IpAddr::V6(address) => matches!(address.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, _, _]),
        IpAddr::V4(_) => false,
    };
    known
        .or(isatap.then_some("IPv4 inside ISATAP"))
        .or((address.is_ipv6() && !is_global_unicast(address)).then_some("not global unicast"))
}

/// An operator's permission to connect where it would be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowRule {
    /// The addresses.
    pub network: Network,
    /// The ports; `None` for all.
    pub ports: Option<Vec<u16>>,
    /// Whether `http://` may be used too.
    pub plain_http: bool,
}

impl AllowRule {
    pub(super) fn covers(&self, address: IpAddr, port: u16) -> bool {
        self.network.contains(address) && self.ports.as_ref().is_none_or(|ports| ports.contains(&port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_can_be_read() {
        assert_eq!(RANGES.len(), FORBIDDEN.len());
    }
}
