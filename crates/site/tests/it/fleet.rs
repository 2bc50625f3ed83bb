//! Clients of a site that is several processes: whom a client talks to makes no difference.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use deployment::{
    CLIENT_LINE_FORMAT, ClientEnrolled, ClientEnrolment, CommandLine, HaltRule, site_host_name,
};
use policy::SiteCode;
use rcgen::KeyPair;
use reqwest::{Certificate, Identity, blocking};
use running::{BootId, Message, Now, RunId, Said, Word, write_parcel};
use site::{Client, Folder, NewDeployment, Target};

use crate::process::{Process, client, wait, wait_for};

/// A client is silent after so many milliseconds.
const SILENCE: u64 = 8_000;

/// One client, and a kept connection to each process.
struct Machine {
    http: [blocking::Client; 2],
    said: std::cell::Cell<u64>,
}

struct Site {
    links: [SocketAddr; 2],
    asked: [Client; 2],
    authority: String,
}

impl Site {
    fn http(&self, which: usize, own: Option<&str>) -> blocking::Client {
        let host = site_host_name(&SiteCode::new("TOP").unwrap());
        let mut builder = blocking::Client::builder()
            .https_only(true)
            .tls_certs_only([Certificate::from_pem(self.authority.as_bytes()).unwrap()])
            .resolve_to_addrs(&host, &[self.links[which]])
            .no_proxy();
        if let Some(own) = own {
            builder = builder.identity(Identity::from_pem(own.as_bytes()).unwrap());
        }
        builder.build().unwrap()
    }

    fn url(&self, which: usize, path: &str) -> String {
        let host = site_host_name(&SiteCode::new("TOP").unwrap());
        format!("https://{host}:{}/link/1/client/{path}", self.links[which].port())
    }

    fn enrol(&self, which: usize) -> Machine {
        let token = self.asked[which].client_token(None, None, None).unwrap();
        let key = KeyPair::generate().unwrap();
        let raw = key.public_key_raw();
        let enrolment = ClientEnrolment {
            format: CLIENT_LINE_FORMAT,
            secret: token.secret,
            key: raw.iter().map(|byte| format!("{byte:02x}")).collect(),
            client: None,
            name: "web".to_owned(),
        };
        let request = self.http(which, None).post(self.url(which, "enrolment")).json(&enrolment);
        let enrolled: ClientEnrolled =
            request.send().unwrap().error_for_status().unwrap().json().unwrap();
        let own = enrolled.certificate + &key.serialize_pem();
        let http = [0, 1].map(|which| self.http(which, Some(&own)));
        Machine { http, said: std::cell::Cell::new(0) }
    }

    fn check_in(&self, which: usize, machine: &Machine) {
        let request = machine.http[which].get(self.url(which, "policy"));
        request.send().unwrap().error_for_status().unwrap();
    }

    fn report(&self, which: usize, machine: &Machine, word: Word, deployment: &str) {
        machine.said.set(machine.said.get() + 1);
        let message = Message {
            sequence: machine.said.get(),
            series: 7,
            clock: 1,
            at: Now { boot: BootId(1), at: 1 },
            said: Said {
                word,
                run: Some(RunId::of(deployment)),
                attempt: 1,
                cause: "because".into(),
                evidence: "".into(),
                next: "".into(),
            },
            detail: Vec::new(),
        };
        let parcel = write_parcel(&[message]);
        let request = machine.http[which].post(self.url(which, "messages")).body(parcel);
        request.send().unwrap().error_for_status().unwrap();
    }

    /// What a process says of a deployment: how it is, and why.
    fn status(&self, which: usize, id: &str) -> (String, String) {
        let all = self.asked[which].deployments().unwrap();
        let one = all.into_iter().find(|one| one.deployment == id).unwrap();
        (one.status, one.waits.unwrap_or_default())
    }

    fn deploy(&self, which: usize, id: &str) {
        let new = NewDeployment {
            id: id.to_owned(),
            command: Some(CommandLine::Shell("true".to_owned())),
            target: Target { everybody: true, ..Target::default() },
            halt: Some(HaltRule { failures: 60, silent: 20, minimum: 4, silence: SILENCE }),
            ..NewDeployment::default()
        };
        self.asked[which].deploy(&new).unwrap();
    }
}

fn halted(why: &str) -> (String, String) {
    ("halted".to_owned(), why.to_owned())
}

#[test]
fn a_rollout_is_judged_by_what_any_process_heard() {
    let database = testkit::PostgresServer::start().unwrap();
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(&home.path().join("site"));
    site::init(&folder, "TOP", Some(&database.database("top").unwrap())).unwrap();
    let links = [testkit::free_address(), testkit::free_address()];
    let start = |link| {
        let process = Process::start_with(&folder, Some(link));
        (process, client(&folder))
    };
    let (one, asked_one) = start(links[0]);
    let (_other, asked_other) = start(links[1]);
    let asked = [asked_one, asked_other];
    let authority =
        wait("a token says whose site it is", || asked[0].client_token(None, None, None).ok())
            .authority;
    let site = Site { links, asked, authority };
    let machines: Vec<Machine> = (0..4).map(|number| site.enrol(number % 2)).collect();

    // Offered by one process, heard of by the other alone: nobody is silent.
    site.deploy(0, "quiet");
    for machine in &machines {
        site.check_in(0, machine);
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(3 * SILENCE) {
        for machine in &machines {
            site.check_in(1, machine);
        }
        std::thread::park_timeout(Duration::from_millis(500));
    }
    for which in [0, 1] {
        assert_eq!(site.status(which, "quiet").0, "running", "as process {which} has it");
    }
    // Not heard of by any: all are, and whichever is asked knows.
    for which in [0, 1] {
        let why = halted("4 of 4 were not heard of again");
        wait("silence halts it", || (site.status(which, "quiet") == why).then_some(()));
    }

    // Two fail at one, two at the other: four failed. What each says is a row of its own, and the rollout's stays as it was.
    site.deploy(1, "broken");
    let of_broken = "FROM record WHERE name LIKE 'broken%' AND kind =";
    let row = || database.ask("top", &format!("SELECT number {of_broken} 'rollout'")).unwrap();
    let before = row();
    for (number, machine) in machines.iter().enumerate() {
        assert_eq!(row(), before, "after {number} results");
        site.report(number % 2, machine, Word::Failed, "broken");
    }
    let rows = database.ask("top", &format!("SELECT count(*) {of_broken} 'offer'")).unwrap();
    assert_eq!(rows.trim(), "4");
    for which in [0, 1] {
        let why = halted("4 of 4 failed");
        wait("failures halt it", || (site.status(which, "broken") == why).then_some(()));
    }
    // Whose rollout is gone, of that nothing stays.
    site.asked[0].remove_deployment("broken").unwrap();
    let rows = database.ask("top", &format!("SELECT count(*) {of_broken} 'offer'")).unwrap();
    assert_eq!(rows.trim(), "0");

    // Whichever looked, the one that lives goes on with it.
    site.deploy(0, "last");
    for machine in &machines {
        site.check_in(1, machine);
    }
    one.kill();
    let why = halted("4 of 4 were not heard of again");
    wait_for(Duration::from_mins(2), "the other looks", || {
        (site.status(1, "last") == why).then_some(())
    });
}
