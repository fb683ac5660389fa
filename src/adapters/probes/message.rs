//! The two SIP messages of a probe: an OPTIONS request (RFC 3261 §8.1.1, §11.1) as text, and as
//! much of a response as it takes to match it (§17.1.3), and to find its end in a stream (§18.3).
//! Reads hostile bytes without harm.

use std::net::{IpAddr, SocketAddr};

/// What identifies one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Whom to ask.
    pub target: SocketAddr,
    /// Where the answer should go.
    pub local: SocketAddr,
    /// As the Via header calls it: `UDP`, `TCP` or `TLS`.
    pub transport: &'static str,
    /// The transaction: begins with the magic cookie `z9hG4bK` (§8.1.1.7).
    pub branch: String,
    /// Tag of the From header, unique.
    pub tag: String,
    /// Call-ID, unique.
    pub call_id: String,
    /// CSeq number, below 2^31.
    pub sequence: u32,
}

impl Request {
    /// A request with identifiers made of these random bytes.
    #[must_use]
    pub fn new(
        target: SocketAddr,
        local: SocketAddr,
        transport: &'static str,
        random: [u8; 24],
    ) -> Self {
        use std::fmt::Write;
        let mut hex = String::with_capacity(48);
        for byte in random {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        let sequence = u32::from_be_bytes([random[0], random[1], random[2], random[3]]) >> 1;
        Request {
            target,
            local,
            transport,
            branch: format!("z9hG4bK{}", &hex[..16]),
            tag: hex[16..24].to_owned(),
            call_id: format!("{}@{}", &hex[24..], host(local.ip())),
            sequence: sequence.max(1),
        }
    }

    /// The message.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (target, local) = (host_port(self.target), host_port(self.local));
        let Request { transport, branch, tag, call_id, sequence, .. } = self;
        let from = host(self.local.ip());
        // UDP is what a URI means without it, and `transport=tls` is deprecated (§26.2.2): who is
        // asked over TLS knows it.
        let over = if *transport == "TCP" { ";transport=tcp" } else { "" };
        format!(
            "OPTIONS sip:{target}{over} SIP/2.0\r\n\
             Via: SIP/2.0/{transport} {local};branch={branch};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:duotone@{from}>;tag={tag}\r\n\
             To: <sip:{target}>\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {sequence} OPTIONS\r\n\
             Contact: <sip:duotone@{local}{over}>\r\n\
             Accept: application/sdp\r\n\
             User-Agent: duotone/{}\r\n\
             Content-Length: 0\r\n\r\n",
            env!("CARGO_PKG_VERSION"),
        )
    }

    /// The status code, if these bytes are a response to this request: same branch in the top Via
    /// and same method in CSeq (§17.1.3), and the same number.
    #[must_use]
    pub fn status_of(&self, bytes: &[u8]) -> Option<u16> {
        let response = Response::parse(bytes)?;
        let mine = response.branch.as_deref() == Some(&self.branch)
            && response
                .cseq
                .as_ref()
                .is_some_and(|(number, method)| *number == self.sequence && method == "OPTIONS");
        mine.then_some(response.status)
    }
}

/// The part of a response that is needed to match it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// 100 to 699.
    pub status: u16,
    /// Branch of the topmost Via.
    pub branch: Option<String>,
    /// Number and method of CSeq.
    pub cseq: Option<(u32, String)>,
}

impl Response {
    /// Reads a datagram; `None` when it is not a SIP response. Tolerates bare line feeds and
    /// whatever follows the headers.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Response> {
        let text = String::from_utf8_lossy(bytes);
        // Line breaks before the start line are to be ignored (§7.5).
        let (first, headers) = text.trim_start_matches(['\r', '\n']).split_once('\n')?;
        let mut words = first.trim_end().splitn(3, ' ');
        if !words.next()?.eq_ignore_ascii_case("SIP/2.0") {
            return None;
        }
        let code = words.next()?;
        let status = code.parse().ok().filter(|_| code.len() == 3 && !code.starts_with('+'))?;
        if !(100..700).contains(&status) {
            return None;
        }
        let mut response = Response { status, branch: None, cseq: None };
        let (mut via, mut cseq) = (None, None);
        for header in unfold(headers) {
            let Some((name, value)) = header.split_once(':') else { continue };
            let name = name.trim_end();
            if via.is_none() && (name.eq_ignore_ascii_case("via") || name.eq_ignore_ascii_case("v"))
            {
                via = Some(value.to_owned());
            } else if cseq.is_none() && name.eq_ignore_ascii_case("cseq") {
                cseq = Some(value.to_owned());
            }
        }
        response.branch = via.as_deref().and_then(branch_of);
        response.cseq = cseq.as_deref().and_then(|value| {
            let mut words = value.split_ascii_whitespace();
            Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
        });
        Some(response)
    }
}

/// What the beginning of a stream holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framed {
    /// Not yet a whole message.
    More,
    /// A whole message of so many bytes, with the empty lines before it.
    Whole(usize),
    /// Nothing that could become one.
    Broken,
}

/// Longest message that is taken from a stream.
const LONGEST: usize = 64 << 10;

/// Finds the end of the first message by its Content-Length (§18.3); one that has none is taken to
/// have no body.
#[must_use]
pub fn frame(stream: &[u8]) -> Framed {
    let begin = stream.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let Some(begin) = begin.filter(|begin| *begin <= LONGEST) else {
        return if stream.len() > LONGEST { Framed::Broken } else { Framed::More };
    };
    let message = &stream[begin..];
    let Some(body) = end_of_headers(message) else {
        return if message.len() > LONGEST { Framed::Broken } else { Framed::More };
    };
    let head = String::from_utf8_lossy(&message[..body]);
    let mut length = 0;
    for header in unfold(head.split_once('\n').map_or("", |(_, headers)| headers)) {
        let Some((name, value)) = header.split_once(':') else { continue };
        let name = name.trim_end();
        if name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("l") {
            match value.trim().parse::<usize>() {
                Ok(value) if value <= LONGEST => length = value,
                Ok(_) | Err(_) => return Framed::Broken,
            }
        }
    }
    if message.len() >= body + length { Framed::Whole(begin + body + length) } else { Framed::More }
}

/// Where the body begins: after an empty line.
fn end_of_headers(message: &[u8]) -> Option<usize> {
    let mut line = 0;
    for (at, byte) in message.iter().enumerate() {
        if *byte == b'\n' {
            if message[line..at].iter().all(|byte| *byte == b'\r') {
                return Some(at + 1);
            }
            line = at + 1;
        }
    }
    None
}

/// Header lines, with continuation lines joined to what they continue (§7.3.1), up to the body.
fn unfold(headers: &str) -> Vec<String> {
    let mut unfolded: Vec<String> = Vec::new();
    for line in headers.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            break;
        }
        match unfolded.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some(header) => {
                header.push(' ');
                header.push_str(line.trim_start());
            }
            None => unfolded.push(line.to_owned()),
        }
    }
    unfolded
}

/// The branch parameter of the first value in a Via header.
fn branch_of(via: &str) -> Option<String> {
    // A token or host holds no comma or semicolon, and no other Via parameter may hold one
    // unless quoted, so quotes are all there is to respect.
    let mut quoted = false;
    let mut escaped = false;
    let mut parts = vec![String::new()];
    for c in via.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => break,
            ';' if !quoted => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        // Never empty: it began with one part.
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("branch").then(|| value.trim().to_owned())
    })
}

/// `host` of RFC 3261 §25.1: an IPv6 address in brackets, without a zone.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn host_port(address: SocketAddr) -> String {
    format!("{}:{}", host(address.ip()), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(target: &str, local: &str) -> Request {
        let random = core::array::from_fn(|i| u8::try_from(i).unwrap() | 0x80);
        Request::new(target.parse().unwrap(), local.parse().unwrap(), "UDP", random)
    }

    fn reply(request: &Request, status: &str) -> String {
        format!(
            "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch={};received=1.2.3.4\r\n\
             CSeq: {} OPTIONS\r\n\r\nbody",
            request.branch, request.sequence
        )
    }

    #[test]
    fn the_request_has_every_mandatory_header() {
        let request = request("[2001:db8::5]:5060", "[fe80::1%3]:40000");
        let text = request.to_text();
        assert!(text.starts_with("OPTIONS sip:[2001:db8::5]:5060 SIP/2.0\r\n"), "{text}");
        assert!(text.ends_with("Content-Length: 0\r\n\r\n"), "{text}");
        let via = format!("Via: SIP/2.0/UDP [fe80::1]:40000;branch={};rport\r\n", request.branch);
        assert!(text.contains(&via), "{text}");
        for name in ["Max-Forwards: 70", "From: <sip:duotone@[fe80::1]>;tag=", "To: <", "Call-ID: "]
        {
            assert!(text.contains(&format!("\r\n{name}")), "{name} missing in {text}");
        }
        assert!(text.contains(&format!("\r\nCSeq: {} OPTIONS\r\n", request.sequence)), "{text}");
        assert!(request.branch.starts_with("z9hG4bK") && request.sequence < 1 << 31);
    }

    #[test]
    fn matches_its_own_response_only() {
        let request = request("127.0.0.1:5060", "127.0.0.1:9");
        assert_eq!(request.status_of(reply(&request, "200 OK").as_bytes()), Some(200));
        assert_eq!(request.status_of(reply(&request, "404 Not here").as_bytes()), Some(404));
        let other_branch = reply(&request, "200 OK").replace("z9hG4bK", "z9hG4bKx");
        assert_eq!(request.status_of(other_branch.as_bytes()), None);
        let other_number = reply(&request, "200 OK").replace("CSeq: ", "CSeq: 9");
        assert_eq!(request.status_of(other_number.as_bytes()), None);
        let other_method = reply(&request, "200 OK").replace("OPTIONS", "INVITE");
        assert_eq!(request.status_of(other_method.as_bytes()), None);
        assert_eq!(request.status_of(request.to_text().as_bytes()), None);
    }

    #[test]
    fn reads_the_forms_that_servers_use() {
        let folded = b"\r\nsip/2.0 200 OK\nv : SIP / 2.0 / UDP a;x=\"1;branch=no,\\\"\"\n ; Branch = b1 \
            , SIP/2.0/UDP b;branch=b2\nvia: SIP/2.0/UDP c;branch=b3\ncseq:\t7   OPTIONS\n\nCSeq: 8 X";
        let response = Response::parse(folded).unwrap();
        assert_eq!(response.branch.as_deref(), Some("b1"));
        assert_eq!(response.cseq, Some((7, "OPTIONS".into())));
        for bad in
            ["SIP/2.0 99 X\n", "SIP/2.0 +20 X\n", "SIP/2.0 700 X\n", "SIP/3.0 200 X\n", "SIP/2.0"]
        {
            assert_eq!(Response::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_request_over_a_connection_says_so() {
        for (transport, over) in [("TCP", ";transport=tcp"), ("TLS", "")] {
            let text = Request { transport, ..request("127.0.0.1:5060", "127.0.0.1:9") }.to_text();
            let line = format!("OPTIONS sip:127.0.0.1:5060{over} SIP/2.0\r\n");
            assert!(text.starts_with(&line), "{text}");
            assert!(text.contains(&format!("\r\nVia: SIP/2.0/{transport} 127.0.0.1:9;")), "{text}");
            assert!(text.contains(&format!("<sip:duotone@127.0.0.1:9{over}>\r\n")), "{text}");
        }
    }

    #[test]
    fn a_stream_is_cut_where_each_message_ends() {
        let first = b"\r\n\r\nSIP/2.0 200 OK\r\nl : 3\r\nVia: x\r\n\r\nabc";
        let stream = [first, &b"SIP/2.0 180 R\n\n"[..]].concat();
        for cut in 0..first.len() {
            assert_eq!(frame(&stream[..cut]), Framed::More, "{cut}");
        }
        assert_eq!(frame(&stream), Framed::Whole(first.len()));
        assert_eq!(frame(&stream[first.len()..]), Framed::Whole(15));
        for length in ["-1", "x", "65537", "99999999999999999999"] {
            let text = format!("SIP/2.0 200 OK\r\nContent-Length: {length}\r\n\r\n");
            assert_eq!(frame(text.as_bytes()), Framed::Broken, "{length}");
        }
        assert_eq!(frame(&[b'x'; LONGEST]), Framed::More);
        for endless in [[b'x'; LONGEST + 1], [b'\n'; LONGEST + 1]] {
            assert_eq!(frame(&endless), Framed::Broken);
        }
    }

    proptest! {
        #[test]
        fn a_hostile_stream_is_cut_inside_of_it(
            bytes in "(\r\n)?SIP/2.0 200 OK\r?\n(l: ?[0-9]{0,4}\r?\n){0,3}\r?\n?[ -~\n]{0,200}"
        ) {
            if let Framed::Whole(length) = frame(bytes.as_bytes()) {
                prop_assert!(length <= bytes.len());
            }
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Response::parse(&bytes);
        }

        #[test]
        fn hostile_headers_never_panic(tail in "[ -~\r\n\t;=,\"\\\\é]{0,200}") {
            let mine = request("127.0.0.1:5060", "127.0.0.1:9");
            let _ = mine.status_of(format!("SIP/2.0 200 OK\r\nVia:{tail}").as_bytes());
            // Unless it forged the branch, which is random, it is no answer.
            prop_assert_eq!(mine.status_of(format!("SIP/2.0 200 OK\r\n{tail}").as_bytes()), None);
        }

        #[test]
        fn every_request_is_matched(random: [u8; 24], status in 100u16..700) {
            let mine = Request::new("127.0.0.1:5060".parse().unwrap(),
                "127.0.0.1:9".parse().unwrap(), "UDP", random);
            let answer = reply(&mine, &format!("{status} Any"));
            prop_assert_eq!(mine.status_of(answer.as_bytes()), Some(status));
        }
    }
}
