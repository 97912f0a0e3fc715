//! One connection: writes a request, reads the answer, looks at as little of it as possible.

use memchr::memmem;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// The longest answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const BLOCK_BYTES: usize = 4 * 1024;

/// A kept-alive connection.
pub(super) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::new() })
    }

    /// Sends a request and reads its answer to the end. Gives the status.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        let mut rest = request;
        while !rest.is_empty() {
            match self.stream.try_write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        self.answer.clear();
        loop {
            self.stream.readable().await?;
            let mut block = [0; BLOCK_BYTES];
            match self.stream.try_read(&mut block) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.answer.extend_from_slice(block.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if let Some(status) = whole_answer(&self.answer)? {
                return Ok(status);
            }
            if self.answer.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::new(ErrorKind::InvalidData, "the answer is too long"));
            }
        }
    }
}

/// The status, once head and body are there. Answers without `Content-Length` are not understood.
fn whole_answer(bytes: &[u8]) -> io::Result<Option<u16>> {
    let odd = |why: &'static str| io::Error::new(ErrorKind::InvalidData, why);
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head =
        std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map_err(|_| odd("the head is no text"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| odd("the answer has no status"))?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
    });
    let length = length.ok_or_else(|| odd("the answer does not say how long it is"))?;
    Ok((bytes.len() >= end + 4 + length).then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_last_byte_is_there_and_not_before() {
        let answer = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: x\r\nContent-Length: 3\r\n\r\nyes";
        for cut in 0..answer.len() {
            assert_eq!(whole_answer(&answer[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(whole_answer(answer).unwrap(), Some(429));
        assert!(whole_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(whole_answer(b"nonsense\r\n\r\n").is_err());
    }
}
