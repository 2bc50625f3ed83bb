//! Sites and agents of different versions.

use minicbor::{Encoder, bytes::ByteVec};
use model::Hash;
use running::{
    Act, BootId, Direction, Edition, Message, Now, PARCEL_FORMAT, Parcel, Proof, RunId, Said,
    Upgrade, UpgradeEvent, Word, write_parcel,
};

fn edition(name: &str) -> Edition {
    Edition { name: name.into(), digest: Hash::of(name.as_bytes()) }
}

/// A machine's guardian: what is at work, and an upgrade that is under way.
struct Machine {
    current: Edition,
    upgrade: Option<Upgrade>,
    /// What was at work, one after the other.
    were: Vec<Edition>,
}

impl Machine {
    fn new(name: &str) -> Self {
        Self { current: edition(name), upgrade: None, were: Vec::new() }
    }

    fn happened(&mut self, event: UpgradeEvent) {
        for act in Upgrade::next(self.upgrade.clone(), event) {
            match act {
                Act::Keep(upgrade) => self.upgrade = upgrade,
                Act::Flip(to) if to != self.current => {
                    self.were.push(std::mem::replace(&mut self.current, to));
                }
                _ => {}
            }
        }
    }

    /// A site has a version of the agent deployed; the machine is cut off now and then while it changes.
    fn offered(&mut self, to: &Edition, direction: Direction, is_cut_off: bool) {
        let wanted = Upgrade::want(
            self.current.clone(),
            to.clone(),
            direction,
            self.upgrade.as_ref(),
            |_| false,
        );
        if let Some(wanted) = wanted {
            self.upgrade = Some(wanted);
            self.happened(UpgradeEvent::Ended);
        }
        if is_cut_off {
            return self.happened(UpgradeEvent::Began);
        }
        for proof in [Proof::Local, Proof::Site] {
            self.happened(UpgradeEvent::Proved(proof));
        }
    }
}

/// Three hundred clients ask two sites in turn for two days; one site is 1.9 and becomes 2.0 on the second day, and each has
/// its own version of the agent deployed.
#[test]
fn q262677_a_client_of_two_sites_changes_its_version_once() {
    const POLLS: usize = 48 * 4;
    for number in 0..300 {
        let mut machine = Machine::new(if number % 3 == 0 { "2.0" } else { "1.9" });
        for poll in 0..POLLS {
            let is_older = (poll + number).is_multiple_of(2) && poll < POLLS / 2;
            let offered = edition(if is_older { "1.9" } else { "2.0" });
            machine.offered(&offered, Direction::Up, (poll * 7 + number) % 11 == 0);
        }
        assert_eq!(machine.current, edition("2.0"));
        let were: &[Edition] = if number % 3 == 0 { &[] } else { &[edition("1.9")] };
        assert_eq!(machine.were, were);
        assert_eq!(machine.upgrade, None);
        // Somebody means it.
        machine.offered(&edition("1.9"), Direction::Any, false);
        assert_eq!(machine.current, edition("1.9"));
    }
}

#[test]
fn q262677_versions_are_told_apart_as_versions() {
    for (one, other) in [("2.0", "1.9"), ("1.10", "1.9"), ("2.0", "2.0~rc1"), ("10", "9")] {
        assert!(edition(one).is_newer_than(&edition(other)));
        assert!(!edition(other).is_newer_than(&edition(one)));
    }
    assert!(!edition("2.0").is_newer_than(&edition("2.00")), "neither is newer: nobody flips");
    assert!(!edition("2.00").is_newer_than(&edition("2.0")));
}

const WORDS: [Word; 14] = [
    Word::Starting,
    Word::Done,
    Word::Failed,
    Word::Withdrawn,
    Word::Waiting,
    Word::Held,
    Word::Interrupted,
    Word::HistoryLost,
    Word::Refused,
    Word::DetailDropped,
    Word::Upgraded,
    Word::UpgradeTakenBack,
    Word::NoContent,
    Word::NotApplicable,
];

fn message(sequence: u64, word: Word) -> Message {
    let said = Said {
        word,
        run: Some(RunId::of("redis")),
        attempt: 1,
        cause: "because".into(),
        evidence: "this shows it".into(),
        next: "nothing".into(),
    };
    let at = Now { boot: BootId(1), at: 1 };
    Message { sequence, series: 7, clock: 1, at, said, detail: b"output".to_vec() }
}

/// A message as a later version may write it: with a field more, at times with a word more.
fn later(message: &Message, word: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut to = Encoder::new(&mut bytes);
    let said = &message.said;
    to.array(7).unwrap().u64(message.sequence).unwrap().i64(message.clock).unwrap();
    to.encode(message.at).unwrap().array(7).unwrap().u32(word).unwrap();
    to.encode(&said.run).unwrap().u32(said.attempt).unwrap().str(&said.cause).unwrap();
    to.str(&said.evidence).unwrap().str(&said.next).unwrap().str("a field more").unwrap();
    to.bytes(&message.detail).unwrap().u64(message.series).unwrap().str("another").unwrap();
    bytes
}

/// Every kind of message is understood by an older and by a newer site; what it does not know harms nothing but itself.
#[test]
fn q262677_every_message_is_understood_across_versions() {
    let all: Vec<Message> = (1..).zip(WORDS).map(|(number, word)| message(number, word)).collect();
    let read = Parcel::read(&write_parcel(&all)).unwrap();
    let understood: Vec<Message> =
        read.messages.into_iter().map(|(_, message)| message.unwrap()).collect();
    assert_eq!(understood, all);

    let mut items: Vec<(u64, ByteVec)> = all
        .iter()
        .map(|message| (message.sequence, later(message, message.said.word.number()).into()))
        .collect();
    items.push((15, later(&message(15, Word::Done), 99).into()));
    let read = Parcel::read(&minicbor::to_vec((PARCEL_FORMAT, 7_u64, &items)).unwrap()).unwrap();
    let (known, unknown) = read.messages.split_at(WORDS.len());
    let understood: Vec<&Message> =
        known.iter().map(|(_, message)| message.as_ref().unwrap()).collect();
    assert_eq!(understood, all.iter().collect::<Vec<_>>());
    assert!(matches!(unknown, [(15, Err(_))]), "{unknown:?}");

    // Another format is announced, and refused with what to do; its messages stay with the agent.
    let newer = minicbor::to_vec((PARCEL_FORMAT + 1, 7_u64, &items)).unwrap();
    let refused = Parcel::read(&newer).unwrap_err().to_string();
    assert!(refused.contains("upgrade the site first"), "{refused}");
}
