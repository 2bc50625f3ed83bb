//! Waves, and what stops them.

use std::collections::BTreeSet;

use deployment::{
    ClientId, ClientResult, Gate, GateCause, HaltCause, HaltRule, RetryWhom, Rollout, RolloutEvent,
    RolloutPlan, RolloutRefused, RolloutStatus, RolloutTally, Share, SiteNow, Wave, WaveGate,
};
use jiff::Timestamp;
use policy::Moment;
use proptest::prelude::*;

use crate::sample::id;

const HOUR: u64 = 3_600_000;

fn client(number: u32) -> ClientId {
    ClientId(u128::from(number).to_be_bytes())
}

fn now(at: u64) -> SiteNow {
    let wall = Timestamp::from_millisecond(i64::try_from(at).unwrap()).unwrap();
    SiteNow { at: Moment(at), wall }
}

fn wave(share: Share, then: WaveGate) -> Wave {
    Wave { share, then }
}

fn after(successes: u32, soak: u64) -> WaveGate {
    WaveGate { soak, successes, approval: false }
}

fn plan() -> RolloutPlan {
    RolloutPlan {
        waves: vec![
            wave(Share::Percent(1), after(5, HOUR)),
            wave(Share::Percent(20), after(50, HOUR)),
            wave(Share::Percent(100), WaveGate::default()),
        ],
        halt: HaltRule { failures: 10, silent: 20, minimum: 5, silence: HOUR },
    }
}

struct Site {
    rollout: Rollout,
    clients: u32,
    at: u64,
}

impl Site {
    fn new(plan: RolloutPlan, clients: u32) -> Self {
        let rollout = Rollout::start(id("D"), plan, (0..clients).map(client), now(0)).unwrap();
        Self { rollout, clients, at: 0 }
    }

    fn is_open(&self, number: u32) -> bool {
        self.rollout.gate(client(number), |_| false, now(self.at).wall) == Gate::Open
    }

    fn open(&self) -> Vec<u32> {
        (0..self.clients).filter(|number| self.is_open(*number)).collect()
    }

    fn tell(&mut self, event: RolloutEvent) {
        // A halt is state, and so is what clients said: both are what they were after a restart.
        self.rollout.next(event, now(self.at)).unwrap();
        let again = self.restarted();
        assert_eq!(again.course(), self.rollout.course());
        let (one, other) = (self.rollout.tally(), again.tally());
        let said = |tally: RolloutTally| RolloutTally { silent: 0, answered: 0, ..tally };
        assert_eq!(said(one), said(other));
    }

    /// The rollout as somebody else knows it who reads what was written.
    fn restarted(&self) -> Rollout {
        let course = serde_json::to_string(self.rollout.course()).unwrap();
        let mut again = Rollout::of(serde_json::from_str(&course).unwrap());
        for client in self.rollout.clients() {
            let offer = serde_json::to_string(&self.rollout.offer(client).unwrap()).unwrap();
            again.take_offer(client, serde_json::from_str(&offer).unwrap());
        }
        again
    }

    /// Everybody whose gate is open learns of it and reports.
    fn everybody(&mut self, result: impl Fn(u32) -> Option<ClientResult>) {
        for number in self.open() {
            if !self.is_open(number) {
                return;
            }
            self.tell(RolloutEvent::Offered(client(number)));
            if let Some(result) = result(number) {
                self.tell(RolloutEvent::Reported(client(number), result));
            }
        }
    }

    /// Time passes, and everybody checks in.
    fn hour_of_life(&mut self) {
        self.at += HOUR;
        for number in 0..self.clients {
            self.rollout.next(RolloutEvent::Heard(client(number)), now(self.at)).unwrap();
        }
        self.timer(0, 0);
    }

    fn timer(&mut self, after: u64, others_silent: u8) {
        self.at += after;
        self.tell(RolloutEvent::Timer { others_silent });
    }
}

#[test]
fn waves_open_one_after_the_other_and_keep_who_is_in() {
    let mut site = Site::new(plan(), 500);
    let first = site.open();
    assert_eq!(first.len(), 5);
    site.everybody(|_| Some(ClientResult::Succeeded));
    assert_eq!(site.open(), first, "it soaks first");
    insta::assert_snapshot!(site.rollout.waits_for(Moment(0)).unwrap(), @"wave 2 waits for 1 h to pass; `packhorse site deployment next-wave D` begins it now");
    assert_eq!(site.rollout.next_wake(), Some(Moment(HOUR)));
    site.hour_of_life();
    let second = site.open();
    assert_eq!(second.len(), 100);
    assert!(first.iter().all(|number| second.contains(number)));
    site.everybody(|_| Some(ClientResult::Succeeded));
    site.hour_of_life();
    assert_eq!(site.open().len(), 500);
    assert_eq!(site.rollout.waits_for(Moment(0)), None);
    assert_eq!(site.rollout.status(), &RolloutStatus::Running);
}

#[test]
fn a_broken_package_reaches_the_first_wave_only_and_stays_halted() {
    let mut site = Site::new(plan(), 5_000);
    site.everybody(|_| Some(ClientResult::Failed));
    assert_eq!(site.rollout.tally().failed, 5, "the smallest sample there may be");
    let Gate::Closed { cause, by, .. } = site.rollout.gate(client(1), |_| false, now(0).wall)
    else {
        panic!()
    };
    assert_eq!(cause, GateCause::Halted);
    insta::assert_snapshot!(by, @"5 of 5 failed");
    site.timer(1_000 * HOUR, 0);
    assert_eq!(site.open(), [] as [u32; 0]);
    assert_eq!(site.rollout.next_wake(), None);
    // Mended and resumed: what was counted before is not counted again; who failed gets another try.
    site.tell(RolloutEvent::Resume);
    assert_eq!(site.open().len(), 50);
    let before = site.rollout.round_of(client(1));
    site.tell(RolloutEvent::Retry(RetryWhom::All));
    assert_eq!(site.rollout.round_of(client(1)), before + 1);
    site.everybody(|_| Some(ClientResult::Succeeded));
    assert_eq!((site.rollout.tally().failed, site.rollout.tally().succeeded), (0, 50));
    site.hour_of_life();
    assert_eq!(site.rollout.open_waves(), 2);
}

#[test]
fn a_package_that_makes_clients_silent_halts_and_an_outage_does_not() {
    let mut site = Site::new(plan(), 2_000);
    site.everybody(|_| None);
    assert_eq!(site.rollout.next_wake(), Some(Moment(HOUR)));
    // Everybody is silent: it is the network, not the package.
    site.timer(HOUR, 100);
    assert_eq!(site.rollout.status(), &RolloutStatus::Running);
    assert_eq!(site.rollout.tally().silent, 20);
    // The others are back, these are not.
    site.timer(60_000, 0);
    let why = HaltCause::Silence { silent: 20, of: 20 };
    assert_eq!(site.rollout.status(), &RolloutStatus::Halted { why, since: now(site.at).wall });
    // They come back: they answer.
    for number in 0..2_000 {
        site.rollout.next(RolloutEvent::Heard(client(number)), now(site.at)).unwrap();
    }
    assert_eq!((site.rollout.tally().silent, site.rollout.tally().answered), (0, 20));
    // The site itself was away: nobody could be heard.
    let mut site = Site::new(plan(), 2_000);
    site.everybody(|_| None);
    site.at += 10 * HOUR;
    site.rollout.was_deaf(Moment(site.at));
    site.timer(0, 0);
    assert_eq!((site.rollout.tally().silent, site.rollout.tally().answered), (0, 0));
    site.timer(HOUR, 0);
    assert_eq!(site.rollout.tally().silent, 20);
}

/// Clients may be heard of elsewhere: silence is judged only as far as what was heard anywhere is known.
#[test]
fn silence_is_judged_as_far_as_what_was_heard_is_known() {
    let mut site = Site::new(plan(), 2_000);
    site.everybody(|_| None);
    site.at += 2 * HOUR;
    // Another process has said nothing yet of what it heard since.
    site.rollout.look(Moment(HOUR / 2));
    assert_eq!((site.rollout.tally().silent, site.rollout.tally().answered), (0, 0));
    for number in site.open() {
        site.rollout.hear(client(number), Moment(HOUR / 2 * 3));
    }
    site.rollout.look(Moment(2 * HOUR));
    assert_eq!((site.rollout.tally().silent, site.rollout.tally().answered), (0, 20));
    // What is known late of an earlier time is nothing new.
    for number in site.open() {
        site.rollout.hear(client(number), Moment(HOUR));
    }
    site.rollout.look(Moment(3 * HOUR));
    assert_eq!((site.rollout.tally().silent, site.rollout.tally().answered), (20, 0));
}

#[test]
fn who_reports_and_falls_silent_then_is_seen_as_well() {
    let mut site = Site::new(plan(), 1_000);
    site.everybody(|_| Some(ClientResult::Succeeded));
    site.timer(HOUR, 0);
    assert_eq!(site.rollout.tally().silent, 10, "done, and never heard of again");
}

#[test]
fn pause_resume_stop_and_approval() {
    let mut gated = plan();
    gated.waves[0].then = WaveGate { approval: true, ..WaveGate::default() };
    let mut site = Site::new(gated, 100);
    site.timer(100 * HOUR, 0);
    insta::assert_snapshot!(site.rollout.waits_for(Moment(0)).unwrap(), @"wave 2 waits for approval (`packhorse site deployment approve D`); `packhorse site deployment next-wave D` begins it now");
    site.tell(RolloutEvent::Pause("ann".into()));
    site.tell(RolloutEvent::Approve);
    assert_eq!((site.rollout.open_waves(), site.open().len()), (1, 0));
    site.tell(RolloutEvent::Resume);
    assert_eq!((site.rollout.open_waves(), site.open().len()), (2, 20));
    site.tell(RolloutEvent::NextWave);
    assert_eq!(site.open().len(), 100);
    assert_eq!(site.rollout.next(RolloutEvent::Approve, now(0)), Err(RolloutRefused::AllOpen));
    site.tell(RolloutEvent::Stop("bob".into()));
    let Gate::Closed { cause, by, .. } = site.rollout.gate(client(1), |_| false, now(0).wall)
    else {
        panic!()
    };
    assert_eq!((cause, &*by), (GateCause::Stopped, "bob"));
    assert_eq!(site.rollout.next(RolloutEvent::Resume, now(0)), Err(RolloutRefused::Stopped));
}

#[test]
fn waves_of_counts_and_collections_and_of_few() {
    let mut counted = plan();
    counted.waves = vec![
        wave(Share::Count(3), after(10, 0)),
        wave(Share::Collection("pilots".into()), after(0, HOUR)),
        wave(Share::Percent(100), WaveGate::default()),
    ];
    let mut site = Site::new(counted, 40);
    assert_eq!(site.open().len(), 3);
    site.everybody(|_| Some(ClientResult::Succeeded));
    assert_eq!(site.rollout.open_waves(), 2, "three are all there are");
    let pilots = |number: u32| {
        site.rollout.gate(client(number), |name| name == "pilots", now(0).wall) == Gate::Open
    };
    assert!((0..40).all(pilots));
    assert_eq!(site.open().len(), 3);
    // One of a hundred of three is one.
    let site = Site::new(plan(), 3);
    assert_eq!(site.open().len(), 1);
}

#[test]
fn for_some_only_there_is_another_try() {
    let mut site = Site::new(plan(), 500);
    let first = site.open();
    for number in &first[..2] {
        site.tell(RolloutEvent::Offered(client(*number)));
        site.tell(RolloutEvent::Reported(client(*number), ClientResult::Failed));
    }
    let one: BTreeSet<ClientId> = [client(first[0])].into();
    site.tell(RolloutEvent::Retry(RetryWhom::Some(one)));
    assert_eq!([0, 1].map(|at| site.rollout.round_of(client(first[at]))), [1, 0]);
    assert_eq!(site.rollout.tally().failed, 1);
}

#[test]
fn plans_nobody_can_have_meant_are_refused() {
    let refused = |change: fn(&mut RolloutPlan)| {
        let mut plan = plan();
        change(&mut plan);
        plan.check().unwrap_err().to_string()
    };
    insta::assert_snapshot!(refused(|plan| plan.waves.clear()), @"the rollout has no wave: give at least one, `100 %` for everybody at once");
    insta::assert_snapshot!(refused(|plan| plan.waves[1].share = Share::Percent(1)), @"wave 2 is no larger than the one before: shares include those of earlier waves");
    insta::assert_snapshot!(refused(|plan| plan.waves[0].then = WaveGate::default()), @"after wave 1 the next one would begin at once: give a time to soak, successes to wait for, or ask for approval");
    insta::assert_snapshot!(refused(|plan| plan.waves[2].share = Share::Percent(101)), @"wave 3 has 101 %: give 1 to 100 %, or at least 1 client");
}

proptest! {
    /// Whatever happens, counts are those of the clients, the number of open waves never falls, and a rollout that is
    /// not running lets nobody in.
    #[test]
    fn counts_are_counts(events in proptest::collection::vec((0..9_u8, 0..30_u32, 0..2 * HOUR), 1..120)) {
        let mut site = Site::new(plan(), 30);
        let mut results = std::collections::BTreeMap::new();
        for (kind, number, wait) in events {
            site.at += wait / 8;
            let open = site.rollout.open_waves();
            let event = match kind {
                0 | 1 => RolloutEvent::Offered(client(number)),
                2 | 3 => {
                    results.insert(number, true);
                    RolloutEvent::Reported(client(number), ClientResult::Succeeded)
                }
                4 => {
                    results.entry(number).or_insert(false);
                    RolloutEvent::Reported(client(number), ClientResult::Failed)
                }
                5 => RolloutEvent::Timer { others_silent: 0 },
                6 => RolloutEvent::Heard(client(number)),
                7 => RolloutEvent::Pause("ann".into()),
                _ => RolloutEvent::Resume,
            };
            let _ = site.rollout.next(event, now(site.at));
            let tally = site.rollout.tally();
            let succeeded = results.values().filter(|done| **done).count();
            prop_assert_eq!(tally.succeeded as usize, succeeded);
            prop_assert_eq!(tally.failed as usize, results.len() - succeeded);
            prop_assert!(tally.silent + tally.answered <= tally.offered);
            let again = site.restarted().tally();
            prop_assert_eq!((again.forgiven_failures, again.forgiven_successes, again.in_wave),
                (tally.forgiven_failures, tally.forgiven_successes, tally.in_wave));
            prop_assert!(site.rollout.open_waves() >= open);
            if site.rollout.status() != &RolloutStatus::Running {
                prop_assert_eq!(site.open(), Vec::<u32>::new());
            }
        }
    }
}
