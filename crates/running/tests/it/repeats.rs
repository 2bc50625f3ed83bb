//! What is said again and again, over days of virtual time.

use std::collections::VecDeque;

use model::{ExitMeaning, Hash};
use running::{
    Book, BootId, End, Entry, Event, Happened, Message, Now, Order, Pauses, Process, Rerun, RunId,
    Said, Seen, Word,
};

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
/// Of one kind and cause, within any hour.
const MOST: usize = 6;

fn error(cause: &str) -> Said {
    Said {
        word: Word::NoContent,
        run: None,
        attempt: 0,
        cause: cause.into(),
        evidence: "connection refused".into(),
        next: "the next one is asked".into(),
    }
}

/// How many times more a message says that it was said.
fn more(message: &Message) -> usize {
    let evidence = &message.said.evidence;
    let number = evidence.split("said ").nth(1).and_then(|rest| rest.split(' ').next());
    number.map_or(0, |number| number.parse().unwrap())
}

/// A client's book, what it told, and when: virtual time goes on while the machine is off.
struct Client {
    book: Book,
    now: Now,
    time: u64,
    told: Vec<(u64, Message)>,
}

impl Client {
    fn new() -> Self {
        let mut book = Book::default();
        book.take(&Book::first(42));
        Self { book, now: Now { boot: BootId(1), at: 0 }, time: 0, told: Vec::new() }
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now.at += milliseconds;
        self.time += milliseconds;
    }

    /// What was decided is written down, and delivered at once.
    fn take(&mut self, entry: &Entry) {
        assert!(self.book.take(entry));
        let messages: Vec<Message> = self.book.messages().cloned().collect();
        let Some(last) = messages.last() else { return };
        self.book.take(&self.book.delivered(last.sequence));
        let time = self.time;
        self.told.extend(messages.into_iter().map(|message| (time, message)));
    }

    fn say(&mut self, said: Said) {
        self.take(&self.book.tell(said, self.now, 0));
    }

    /// What an agent does whenever something happens.
    fn settle(&mut self) {
        if let Some(entry) = self.book.tell_withheld(self.now, 0) {
            self.take(&entry);
        }
    }

    fn happened(&mut self, id: &RunId, event: Event) {
        let happened = Happened { now: self.now, clock: 0, dice: 0, detail: Vec::new() };
        let (entry, _) = self.book.next(id, event, happened).unwrap();
        self.take(&entry);
    }

    /// Killed at once: what is on disk is all there is.
    fn kill(&mut self) {
        let bytes = minicbor::to_vec(self.book.whole()).unwrap();
        let entry: Entry = minicbor::decode(&bytes).unwrap();
        self.book = Book::default();
        assert!(self.book.take(&entry));
    }

    fn restart(&mut self) {
        self.kill();
        self.now = Now { boot: BootId(self.now.boot.0 + 1), at: 0 };
    }

    fn withheld(&self) -> u64 {
        self.book.repeats().map(|repeat| repeat.withheld).sum()
    }

    fn told(&self, word: Word) -> Vec<&(u64, Message)> {
        self.told.iter().filter(|(_, message)| message.said.word == word).collect()
    }

    fn check(&self, word: Word) {
        let mut hour = VecDeque::new();
        for (time, _) in self.told(word) {
            hour.push_back(*time);
            while hour.front().is_some_and(|first| first + HOUR <= *time) {
                hour.pop_front();
            }
            assert!(hour.len() <= MOST, "{} of {word:?} within an hour", hour.len());
        }
    }
}

/// An error ten times a second for a day, the agent killed and the machine restarted meanwhile: six messages an hour, which say
/// how often it happened, to the last time; what is a result is told each time.
#[test]
fn q140389_an_error_loop_is_counted_and_no_result_is_withheld() {
    const TIMES: u64 = 24 * 3600 * 10;
    let mut client = Client::new();
    for time in 0..TIMES {
        client.say(error("nothing answers at `http://point`"));
        match time {
            300_000 => client.restart(),
            _ if time % 5_003 == 0 => client.kill(),
            _ => {}
        }
        if time % 1_000 == 0 {
            client.say(Said { word: Word::Failed, ..error("exit code 1") });
        }
        client.pass(100);
    }
    client.check(Word::NoContent);
    let told = client.told(Word::NoContent);
    assert!((24 * 2..=24 * MOST).contains(&told.len()), "{} messages", told.len());
    let counted: usize = told.iter().map(|(_, message)| 1 + more(message)).sum();
    assert_eq!(counted as u64 + client.withheld(), TIMES);
    assert_eq!(client.told(Word::Failed).len() as u64, TIMES / 1_000);
    // It stopped: the rest is told when something else wakes the agent, and then it is forgotten.
    let before = client.withheld();
    assert!(before > 0);
    client.pass(HOUR);
    client.settle();
    assert_eq!(client.withheld(), 0);
    assert_eq!(more(&client.told(Word::NoContent).last().unwrap().1) as u64 + 1, before);
    client.pass(HOUR);
    client.settle();
    assert_eq!(client.book.repeats().count(), 0);
    assert_eq!(client.book.tell_withheld(client.now, 0), None, "nothing is written for nothing");
}

/// Another installer is at work for a day, and the program is tried every half minute.
#[test]
fn q140389_a_run_that_waits_all_day_is_told_six_times_an_hour_and_its_end_once() {
    let order = Order {
        id: RunId::of("redis"),
        digest: Hash::of(b"redis"),
        rerun: Rerun::Ask,
        restarts: false,
        detects: true,
        pauses: Pauses::default(),
        round: 0,
        restart_after: false,
    };
    let id = order.id.clone();
    let mut client = Client::new();
    let (entry, _) = client.book.begin(order, client.now, 0).unwrap();
    client.take(&entry);
    let launched = Event::Launched(Process { pid: 7, began: 70 });
    for _ in 0..24 * 120 {
        for event in [Event::Seen(Seen::No), launched.clone()] {
            client.happened(&id, event);
        }
        client.pass(100);
        client.happened(&id, Event::Ended(End::Busy { who: "dpkg".into() }));
        client.happened(&id, Event::Seen(Seen::No));
        client.pass(30 * SECOND - 100);
        client.happened(&id, Event::Due);
    }
    assert!(client.withheld() > 0);
    client.kill();
    for event in [Event::Seen(Seen::No), launched] {
        client.happened(&id, event);
    }
    let text = "exit code 0".into();
    let done = End::Exit { code: Some(0), meaning: ExitMeaning::Done, text };
    client.happened(&id, Event::Ended(done));
    client.happened(&id, Event::Seen(Seen::Yes));
    for word in [Word::Starting, Word::Waiting] {
        client.check(word);
    }
    let ends = client.told(Word::Done);
    assert_eq!(ends.len(), 1);
    let evidence = &ends[0].1.said.evidence;
    assert!(evidence.contains("messages before it were like others, and not told"), "{evidence}");
    assert_eq!((client.withheld(), client.book.repeats().count()), (0, 0));
}

#[test]
fn what_differs_is_told() {
    let mut client = Client::new();
    for number in 0..100 {
        client.say(error(&format!("no `{number}`")));
        let run = Some(RunId::of(&format!("d{number}")));
        client.say(Said { run, ..error("the same") });
    }
    assert_eq!((client.told.len(), client.withheld()), (200, 0));
}

/// A history of an agent that counted nothing is read, and nothing is added to one where nothing was repeated.
#[test]
fn what_was_written_before_is_read() {
    let mut client = Client::new();
    client.say(Said { word: Word::Held, ..error("x") });
    let bytes = minicbor::to_vec(client.book.whole()).unwrap();
    assert_eq!(bytes[0], 0x89, "nine fields, as before");
    let entry: Entry = minicbor::decode(&bytes).unwrap();
    assert_eq!(entry.repeats, None);
}
