use model::Hash;
use proptest::prelude::*;
use running::{
    Book, BootId, Entry, Event, Happened, Now, Order, Pauses, Rerun, RunId, Said, Seen, Word,
};

const NOW: Now = Now { boot: BootId(1), at: 1000 };

fn order(number: u32) -> Order {
    Order {
        id: RunId::of(&format!("d{number}")),
        digest: Hash::of(&number.to_le_bytes()),
        rerun: Rerun::Ask,
        restarts: false,
        detects: true,
        pauses: Pauses::default(),
        round: 0,
        restart_after: false,
    }
}

fn book() -> Book {
    let mut book = Book::default();
    book.take(&Book::first(42));
    book
}

fn said(word: Word, text: &str) -> Said {
    Said {
        word,
        run: None,
        attempt: 0,
        cause: text.into(),
        evidence: Box::default(),
        next: Box::default(),
    }
}

fn happened(detail: &[u8]) -> Happened {
    Happened { now: NOW, clock: 0, dice: 0, detail: detail.to_vec() }
}

#[test]
fn one_at_a_time_and_never_twice() {
    let mut book = book();
    let (entry, _) = book.begin(order(1), NOW, 0).unwrap();
    book.take(&entry);
    let refused = book.begin(order(2), NOW, 0).unwrap_err().to_string();
    assert_eq!(refused, "`d1` is under way");
    let (entry, _) = book.next(&RunId::of("d1"), Event::Seen(Seen::Yes), happened(b"")).unwrap();
    book.take(&entry);
    let refused = book.begin(order(1), NOW, 0).unwrap_err().to_string();
    assert_eq!(refused, "`d1` began before: what became of it stands in the history");
    assert!(book.begin(order(2), NOW, 0).is_ok());
}

#[test]
fn an_entry_counts_once_and_a_book_is_its_entries() {
    let mut book = book();
    let (entry, _) = book.begin(order(1), NOW, 0).unwrap();
    assert!(book.take(&entry));
    assert!(!book.take(&entry));
    let mut again = Book::default();
    again.take(&book.whole());
    assert_eq!(again, book);
}

#[test]
fn q301352_a_message_has_a_name_no_other_has() {
    let mut book = book();
    for cause in ["a", "b", "c"] {
        book.take(&book.tell(said(Word::Refused, cause), NOW, 0));
    }
    book.take(&book.lost("both copies are gone", 43, NOW, 0));
    book.take(&book.tell(said(Word::Refused, "d"), NOW, 0));
    let names: Vec<(u64, u64)> = book.messages().map(|one| (one.series, one.sequence)).collect();
    assert_eq!(names, [(42, 1), (42, 2), (42, 3), (43, 4), (43, 5)]);
}

#[test]
fn q200380_order_is_by_number_whatever_the_clock_says() {
    let mut book = book();
    for (cause, clock) in [("a", 2_000_000_000), ("b", 5), ("c", 4_000_000_000), ("d", -1)] {
        book.take(&book.tell(said(Word::Refused, cause), NOW, clock));
    }
    let numbers: Vec<u64> = book.messages().map(|one| one.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[test]
fn q320276_text_is_text() {
    let mut book = book();
    let odd = "%n %s {0} don't; -- \u{0} \u{1b}[31m \"\\";
    book.take(&book.tell(said(Word::Refused, odd), NOW, 0));
    let bytes = minicbor::to_vec(book.whole()).unwrap();
    let entry: Entry = minicbor::decode(&bytes).unwrap();
    assert_eq!(&*entry.messages[0].said.cause, odd);
}

#[test]
fn q318779_only_what_is_gone_at_the_site_and_came_to_its_end_is_forgotten() {
    let mut book = book();
    let (entry, _) = book.begin(order(1), NOW, 0).unwrap();
    book.take(&entry);
    assert_eq!(book.forget(|_| true), None, "it is under way");
    let (entry, _) = book.next(&RunId::of("d1"), Event::Seen(Seen::Yes), happened(b"")).unwrap();
    book.take(&entry);
    assert_eq!(book.forget(|_| false), None, "it is named still");
    let entry = book.forget(|_| true).unwrap();
    book.take(&entry);
    assert_eq!(book.runs().count(), 0);
}

proptest! {
    /// However little room there is, results stay, in order, and what went is counted.
    #[test]
    fn little_room_costs_details_and_no_results(
        messages in proptest::collection::vec((any::<bool>(), 0..5000_usize), 1..80),
        limit in 100..20_000_usize,
    ) {
        let mut book = book();
        let mut results = 0;
        for (number, (is_result, length)) in (0..).zip(messages) {
            let word = if is_result { Word::Refused } else { Word::Waiting };
            results += usize::from(is_result);
            let (mut entry, _) = book.there(order(number), NOW, 0).unwrap();
            results += 1;
            entry.messages[0].detail = vec![b'x'; length];
            book.take(&entry);
            book.take(&book.tell(said(word, &format!("x{number}")), NOW, 0));
            if let Some(entry) = book.bound(limit, NOW, 0) {
                book.take(&entry);
            }
        }
        let kept = book.messages().filter(|one| matches!(one.said.word, Word::Done | Word::Refused));
        prop_assert_eq!(kept.count(), results);
        let numbers: Vec<u64> = book.messages().map(|one| one.sequence).collect();
        prop_assert!(numbers.is_sorted());
    }
}
