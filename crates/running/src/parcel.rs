//! Messages on their way to the site, each with its own bytes, so that one that cannot be read harms itself only.

use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::Message;

/// The format this crate writes, and the newest it reads.
pub const PARCEL_FORMAT: u32 = 1;
/// No more messages go at once.
pub const PARCEL_MESSAGES: usize = 256;

/// Messages of one series, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The series.
    pub series: u64,
    /// Each with its number; one that cannot be read as it came, and why.
    pub messages: Vec<(u64, Result<Message, Unreadable>)>,
}

/// A message nobody can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// As it came.
    pub bytes: Vec<u8>,
    /// What is wrong with it.
    pub reason: String,
}

/// A parcel that is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadParcelError {
    /// Made by a newer agent.
    #[error(
        "the parcel of messages has format {found}, and this site reads formats up to {known}: upgrade the site first"
    )]
    NewerFormat {
        /// The parcel's format.
        found: u32,
        /// The newest that is understood.
        known: u32,
    },
    /// Not what an agent wrote.
    #[error("the parcel of messages is damaged: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Envelope {
    #[n(0)]
    format: u32,
    #[n(1)]
    series: u64,
    #[n(2)]
    messages: Vec<Item>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Item {
    #[n(0)]
    sequence: u64,
    #[n(1)]
    message: ByteVec,
}

fn encoded<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = minicbor::encode(value, &mut bytes);
    bytes
}

/// Messages as they are sent. Those of another series than the first's go with the next parcel.
pub fn write_parcel(messages: &[Message]) -> Vec<u8> {
    let series = messages.first().map_or(0, |first| first.series);
    let items = messages
        .iter()
        .take_while(|message| message.series == series)
        .take(PARCEL_MESSAGES)
        .map(|message| Item { sequence: message.sequence, message: encoded(message).into() })
        .collect();
    encoded(&Envelope { format: PARCEL_FORMAT, series, messages: items })
}

impl Parcel {
    /// Reads what a client sent.
    ///
    /// # Errors
    /// The whole of it is damaged, is newer than this program, has too many messages, or messages out of order.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadParcelError> {
        let damaged = |reason: String| ReadParcelError::Damaged { reason };
        let envelope: Envelope =
            minicbor::decode(bytes).map_err(|error| damaged(error.to_string()))?;
        if envelope.format > PARCEL_FORMAT {
            let (found, known) = (envelope.format, PARCEL_FORMAT);
            return Err(ReadParcelError::NewerFormat { found, known });
        }
        if envelope.messages.len() > PARCEL_MESSAGES {
            return Err(damaged(format!("it has more than {PARCEL_MESSAGES} messages")));
        }
        if !envelope.messages.is_sorted_by(|one, next| one.sequence < next.sequence) {
            return Err(damaged("its messages are not in order".to_owned()));
        }
        let series = envelope.series;
        let messages = envelope.messages.into_iter().map(|item| {
            let read =
                minicbor::decode::<Message>(&item.message).map_err(|error| error.to_string());
            let read = read.and_then(|message| {
                if (message.series, message.sequence) == (series, item.sequence) {
                    Ok(message)
                } else {
                    Err(format!("it calls itself {} of {}", message.sequence, message.series))
                }
            });
            let read = read.map_err(|reason| Unreadable { bytes: item.message.into(), reason });
            (item.sequence, read)
        });
        Ok(Self { series, messages: messages.collect() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{BootId, Now, RunId, Said, Word};

    fn message(sequence: u64) -> Message {
        let said = Said {
            word: Word::Done,
            run: Some(RunId::of("redis")),
            attempt: 1,
            cause: "exit code 0".into(),
            evidence: "detected".into(),
            next: "".into(),
        };
        let at = Now { boot: BootId(7), at: 9 };
        Message { sequence, series: 4, clock: 1, at, said, detail: vec![b'x'; 10] }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let messages = [message(3), message(5)];
        let parcel = Parcel::read(&write_parcel(&messages)).unwrap();
        assert_eq!(parcel.series, 4);
        let read: Vec<_> =
            parcel.messages.into_iter().map(|(at, one)| (at, one.unwrap())).collect();
        assert_eq!(read, [(3, message(3)), (5, message(5))]);
    }

    #[test]
    fn one_that_cannot_be_read_harms_itself() {
        let bad = Item { sequence: 4, message: b"\"quoted\" \\ not a message".to_vec().into() };
        let good = Item { sequence: 5, message: encoded(&message(5)).into() };
        let liar = Item { sequence: 6, message: encoded(&message(5)).into() };
        let bytes = encoded(&Envelope { format: 1, series: 4, messages: vec![bad, good, liar] });
        let parcel = Parcel::read(&bytes).unwrap();
        assert!(parcel.messages[0].1.as_ref().is_err_and(|one| one.bytes.starts_with(b"\"quoted")));
        assert!(parcel.messages[1].1.is_ok());
        assert!(parcel.messages[2].1.as_ref().is_err_and(|one| one.reason.contains("5 of 4")));
    }

    #[test]
    fn a_newer_one_and_disorder_are_refused_as_a_whole() {
        let newer = encoded(&Envelope { format: 2, series: 1, messages: Vec::new() });
        insta::assert_snapshot!(Parcel::read(&newer).unwrap_err(), @"the parcel of messages has format 2, and this site reads formats up to 1: upgrade the site first");
        let item = |sequence| Item { sequence, message: encoded(&message(sequence)).into() };
        let twice = Envelope { format: 1, series: 4, messages: vec![item(5), item(5)] };
        assert!(Parcel::read(&encoded(&twice)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Parcel::read(&bytes);
        }
    }
}
