//! Answers that come bit by bit: JSON documents a line, bytes, output.

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio_util::codec::{Decoder, FramedRead};
use tokio_util::io::StreamReader;

use super::errors::Error;
use super::output::{Framing, LogOutput, OutputDecoder};

/// Bytes as they come.
pub(super) fn bytes(body: Incoming) -> impl Stream<Item = Result<Bytes, Error>> {
    body.into_data_stream().map_err(Error::from)
}

/// One JSON document after another, with or without line ends between them (dockerd sends both).
pub(super) fn json<T: DeserializeOwned>(body: Incoming) -> impl Stream<Item = Result<T, Error>> {
    FramedRead::new(reader(body), JsonDecoder(PhantomData))
}

/// Output of a process.
pub(super) fn output(body: Incoming, framing: Option<Framing>) -> impl Stream<Item = Result<LogOutput, Error>> {
    FramedRead::new(reader(body), OutputDecoder::new(framing))
}

fn reader(body: Incoming) -> impl tokio::io::AsyncRead {
    StreamReader::new(body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other)))
}

/// Splits a byte stream into JSON documents.
struct JsonDecoder<T>(PhantomData<T>);

impl<T: DeserializeOwned> Decoder for JsonDecoder<T> {
    type Item = T;
    type Error = Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<T>, Error> {
        // A document can only be whole where a line or an object ends; do not parse long ones again for each chunk.
        if !src.iter().rev().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|last| matches!(last, b'}' | b']'))
            && !src.contains(&b'\n')
        {
            return Ok(None);
        }
        let mut documents = serde_json::Deserializer::from_slice(src).into_iter::<T>();
        let outcome = documents.next();
        let read = documents.byte_offset();
        match outcome {
            Some(Ok(document)) => {
                let _ = src.split_to(read);
                Ok(Some(document))
            }
            Some(Err(error)) if error.is_eof() => Ok(None),
            Some(Err(error)) => Err(error.into()),
            None => {
                src.clear();
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_with_and_without_line_ends() {
        let mut decoder = JsonDecoder::<serde_json::Value>(PhantomData);
        let mut src = BytesMut::from(&b"{\"a\":1}{\"a\":\n2}\r\n{\"a\":"[..]);
        assert_eq!(decoder.decode(&mut src).unwrap().unwrap()["a"], 1);
        assert_eq!(decoder.decode(&mut src).unwrap().unwrap()["a"], 2);
        assert!(decoder.decode(&mut src).unwrap().is_none());
        src.extend_from_slice(b"3}");
        assert_eq!(decoder.decode(&mut src).unwrap().unwrap()["a"], 3);
    }

    #[test]
    fn a_document_of_another_shape_is_an_error() {
        let mut decoder = JsonDecoder::<Vec<u8>>(PhantomData);
        assert!(matches!(decoder.decode(&mut BytesMut::from(&b"{}\n"[..])), Err(Error::JsonDataError { .. })));
    }
}
