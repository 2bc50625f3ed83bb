//! The site's side of clients, without agents: who is let in, what is written, what two writers make of it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use deployment::{
    CLIENT_LINE_FORMAT, ClientEnrolled, ClientEnrolment, ClientId, CollectionSpec, CommandLine,
    EnrolmentAnswer, Inventory, InventoryKey, InventoryReport, MachineField, Recurrence, Window,
    Zone,
};
use policy::SiteCode;
use rcgen::KeyPair;
use reqwest::{Certificate, Client, Identity, RequestBuilder, StatusCode};
use running::{BootId, Message, Now, Parcel, RunId, Said, Word, write_parcel};
use tokio::runtime::Runtime;

use super::{
    Clients, NewDeployment, Target,
    fleet::Fleet,
    row::{Change, RequestRow, SiteWindow},
};
use crate::{Folder, Record, RecordKind, Server, authority::PublicKey, link};

fn enrolled(answer: EnrolmentAnswer) -> ClientEnrolled {
    match answer {
        EnrolmentAnswer::Enrolled(enrolled) => enrolled,
        EnrolmentAnswer::Waiting(waiting) => panic!("{waiting:?}"),
    }
}

struct World {
    home: tempfile::TempDir,
    // It goes before the server does, whose end is none of its threads' business.
    runtime: Runtime,
    server: Arc<Server>,
    link: SocketAddr,
}

impl World {
    fn new(code: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(&home.path().join("site"));
        crate::init(&folder, code, None).unwrap();
        let server = Server::start(folder).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let link = listener.local_addr().unwrap();
        runtime.spawn(link::listen(Arc::clone(&server), listener));
        Self { home, runtime, server, link }
    }

    fn folder(&self) -> Folder {
        Folder::new(&self.home.path().join("site"))
    }

    /// A key and the certificate of a new client, in PEM.
    fn enrol(&self, name: &str) -> (ClientId, String) {
        let token = self.server.client_token(None, None, None).unwrap();
        let key = KeyPair::generate().unwrap();
        let asked = ClientEnrolment {
            format: CLIENT_LINE_FORMAT,
            secret: token.secret,
            key: PublicKey::text_of(&key),
            client: None,
            name: name.to_owned(),
        };
        let enrolled = enrolled(self.server.enrol_client(&asked).unwrap());
        (enrolled.client, enrolled.certificate + &key.serialize_pem())
    }

    fn child(&self) -> String {
        let key = KeyPair::generate().unwrap();
        let public = PublicKey::parse(&PublicKey::text_of(&key)).unwrap();
        let code = SiteCode::new("CHILD").unwrap();
        let certificate = self.server.authority().certify(&code, &public).unwrap();
        certificate + &key.serialize_pem()
    }

    fn ask(
        &self,
        own: Option<&str>,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<(StatusCode, String), String> {
        let host = deployment::site_host_name(self.server.desk().site().code());
        let authority = self.server.authority().certificate();
        let mut builder = Client::builder()
            .https_only(true)
            .tls_certs_only([Certificate::from_pem(authority.as_bytes()).unwrap()])
            .resolve_to_addrs(&host, &[self.link])
            .no_proxy();
        if let Some(own) = own {
            builder = builder.identity(Identity::from_pem(own.as_bytes()).unwrap());
        }
        let client = builder.build().unwrap();
        let url = format!("https://{host}:{}/link/1/{path}", self.link.port());
        let request = with(client.get(url)).timeout(Duration::from_secs(30));
        self.runtime.block_on(async {
            let answer = request.send().await.map_err(|error| model::with_causes(&error))?;
            let status = answer.status();
            Ok((status, answer.text().await.unwrap_or_default()))
        })
    }

    fn clients(&self) -> &Arc<Clients> {
        self.server.clients()
    }

    fn deploy(&self, id: &str, target: Target) {
        let command = Some(CommandLine::Shell("true".to_owned()));
        let new = NewDeployment { id: id.to_owned(), command, target, ..NewDeployment::default() };
        self.server.deploy(&new).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.stop(Duration::from_secs(5));
    }
}

fn everybody() -> Target {
    Target { everybody: true, ..Target::default() }
}

fn message(sequence: u64, word: Word, deployment: &str) -> Message {
    Message {
        sequence,
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
    }
}

fn parcel(messages: &[Message]) -> Parcel {
    Parcel::read(&write_parcel(messages)).unwrap()
}

/// A machine that brings no secret.
struct Stranger(ClientEnrolment);

impl Stranger {
    fn new(client: Option<ClientId>) -> Self {
        let key = PublicKey::text_of(&KeyPair::generate().unwrap());
        let name = "web7".to_owned();
        Self(ClientEnrolment { format: CLIENT_LINE_FORMAT, secret: None, key, client, name })
    }

    /// Who it is, or the key it waits with.
    fn ask(&self, world: &World) -> Result<ClientId, String> {
        match world.server.enrol_client(&self.0).map_err(|error| error.to_string())? {
            EnrolmentAnswer::Enrolled(enrolled) => Ok(enrolled.client),
            EnrolmentAnswer::Waiting(waiting) => Err(waiting.waiting),
        }
    }
}

#[test]
fn who_has_no_secret_waits_until_somebody_approves_it() {
    let world = World::new("TOP");
    let machine = Stranger::new(None);
    let key = machine.ask(&world).unwrap_err();
    assert_eq!(machine.ask(&world).unwrap_err(), key, "asking again is the same request");
    let requests = world.server.client_requests();
    let shown: Vec<_> = requests.iter().map(|one| (&*one.key, &*one.name, &*one.state)).collect();
    assert_eq!(shown, [(&*key, "web7", "waits")]);
    let no = |key: &str| world.server.approve_request(key, None).unwrap_err().to_string();
    assert!(no(&key[..7]).contains("8 of its digits"), "{}", no(&key[..7]));
    assert!(no("00000000").contains("no machine with key"), "{}", no("00000000"));
    world.server.refuse_request(&key[..8]).unwrap();
    let refused = machine.ask(&world).unwrap_err();
    assert!(refused.contains("somebody refused"), "{refused}");
    let client = world.server.approve_request(&key[..8], None).unwrap();
    assert_eq!(machine.ask(&world), Ok(client));
    assert_eq!(machine.ask(&world), Ok(client), "an answer may be lost");
    assert_eq!(world.server.client_requests(), [], "it is a client like others");
    assert!(no(&key).contains("already"), "{}", no(&key));
    world.server.revoke_client(client).unwrap();
    let refused = machine.ask(&world).unwrap_err();
    assert!(refused.contains("was revoked"), "{refused}");
}

#[test]
fn an_identity_somebody_else_has_is_given_only_if_somebody_says_so() {
    let world = World::new("TOP");
    let (web7, _) = world.enrol("web7");
    let (copy, reimaged) = (Stranger::new(Some(web7)), Stranger::new(Some(web7)));
    let own = ClientId([7; 16]);
    let moved = Stranger::new(Some(own));
    let [copy_key, reimaged_key, moved_key] =
        [&copy, &reimaged, &moved].map(|one| one.ask(&world).unwrap_err());
    let notes: Vec<_> = world.server.client_requests();
    assert_eq!(notes.iter().filter(|one| one.note.is_some()).count(), 2);
    let other = world.server.approve_request(&copy_key, None).unwrap();
    assert_ne!(other, web7);
    assert_eq!(copy.ask(&world), Ok(other));
    let nobody = world.server.approve_request(&reimaged_key, Some(ClientId([9; 16])));
    assert!(nobody.unwrap_err().to_string().contains("there is no client"));
    world.server.approve_request(&reimaged_key, Some(web7)).unwrap();
    assert_eq!(reimaged.ask(&world), Ok(web7));
    world.server.approve_request(&moved_key, None).unwrap();
    assert_eq!(moved.ask(&world), Ok(own), "nobody else has it");
}

#[test]
fn no_more_wait_than_somebody_can_look_at() {
    let world = World::new("TOP");
    let clients = world.server.clients();
    let row = RequestRow {
        name: "herd".to_owned(),
        client: None,
        since: 0,
        until: clients.now().at.0 + 60_000,
        said: None,
    };
    let all = (0..1_000)
        .map(|number| Change::Request(format!("{number:064x}"), Some(Box::new(row.clone()))));
    clients.write(|_| Ok(((), all.clone().collect()))).unwrap();
    let late = Stranger::new(None);
    let refused = late.ask(&world).unwrap_err();
    assert!(refused.contains("takes no more"), "{refused}");
    world.server.refuse_request(&format!("{:064x}", 5)).unwrap();
    assert_eq!(late.ask(&world).unwrap_err().len(), 64, "one was answered, and there is room");
}

#[test]
fn a_token_that_was_spent_brings_nobody_back() {
    let world = World::new("TOP");
    let token = world.server.client_token(None, None, None).unwrap();
    let machine = Stranger(ClientEnrolment { secret: token.secret, ..Stranger::new(None).0 });
    let client = machine.ask(&world).unwrap();
    assert_eq!(machine.ask(&world), Ok(client), "an answer may be lost");
    world.server.revoke_client(client).unwrap();
    let refused = machine.ask(&world).unwrap_err();
    assert!(refused.contains("was used already"), "{refused}");
}

#[test]
fn clients_hear_where_points_are_read() {
    let world = World::new("TOP");
    let (client, _) = world.enrol("web7");
    let folder = world.home.path().join("point").to_string_lossy().into_owned();
    let told = || {
        let document = world.clients().fleet().document(client, &world.clients().making());
        document.settings.points.unwrap()
    };
    let read_at = "http://files.example.org/packages";
    let refused = world.server.add_point_read_at("near", &folder, Some("ftp://files"));
    assert!(refused.unwrap_err().to_string().contains("clients read from"));
    world.server.add_point_read_at("near", &folder, Some(read_at)).unwrap();
    assert_eq!(told(), [read_at]);
    world.server.read_point_at("near", None).unwrap();
    assert_eq!(told(), [&*folder]);
    let nowhere = world.server.read_point_at("far", Some(read_at)).unwrap_err().to_string();
    assert!(nowhere.contains("far"), "{nowhere}");
}

#[test]
fn nobody_passes_for_somebody_else() {
    let (world, foreign) = (World::new("TOP"), World::new("OTHER"));
    let (client, own) = world.enrol("web7");
    let plain = |request| request;
    let (status, body) = world.ask(Some(&own), "client/policy", plain).unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    let (status, body) = world.ask(None, "client/policy", plain).unwrap();
    assert_eq!((status, body.contains("packhorse-agent enroll")), (StatusCode::UNAUTHORIZED, true));
    let child = world.child();
    let (status, _) = world.ask(Some(&child), "client/policy", plain).unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a child is no client");
    let (status, _) = world.ask(Some(&own), "news?epoch=0&sequence=0", plain).unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a client is no child");
    let (_, stranger) = foreign.enrol("web7");
    world.ask(Some(&stranger), "client/policy", plain).expect_err("of another authority");
    world.server.revoke_client(client).unwrap();
    for _ in 0..3 {
        let (status, body) = world.ask(Some(&own), "client/policy", plain).unwrap();
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(body.contains("was revoked"), "{body}");
    }
    let note = world.server.client_list()[0].note.clone().unwrap();
    assert!(note.starts_with("refused 3 times"), "{note}");
}

#[test]
fn what_is_malformed_is_refused_with_its_reason() {
    let world = World::new("TOP");
    let (client, own) = world.enrol("web7");
    let body = |body: &'static [u8]| {
        move |request: RequestBuilder| {
            let (client, request) = request.build_split();
            let mut request = request.unwrap();
            *request.method_mut() = reqwest::Method::POST;
            *request.body_mut() = Some(body.into());
            RequestBuilder::from_parts(client, request)
        }
    };
    for path in ["client/messages", "client/inventory", "client/certificate"] {
        let (status, said) = world.ask(Some(&own), path, body(b"\x9f\xff{")).unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {said}");
        assert!(said.contains("error"), "{said}");
    }
    let (status, said) = world.ask(None, "client/enrolment", body(b"{}")).unwrap();
    assert_eq!((status, said.contains("format")), (StatusCode::BAD_REQUEST, true), "{said}");
    let shown = world.server.client_details(client).unwrap();
    assert!(shown.summary.note.unwrap().contains("damaged"), "somebody hears of it");
}

#[test]
fn a_check_in_with_nothing_new_writes_nothing() {
    let world = World::new("TOP");
    let (client, own) = world.enrol("web7");
    world.deploy("one", everybody());
    let content = world.clients().content(client).unwrap();
    let before = world.clients().fleet().number;
    let with = |request: RequestBuilder| request.header("if-none-match", format!("\"{content}\""));
    for _ in 0..5 {
        let (status, body) = world.ask(Some(&own), "client/policy", with).unwrap();
        assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    }
    assert_eq!(world.clients().fleet().number, before);
    world.deploy("two", everybody());
    let (status, _) = world.ask(Some(&own), "client/policy", with).unwrap();
    assert_eq!(status, StatusCode::OK);
}

#[test]
fn messages_are_taken_in_once_and_in_order() {
    let world = World::new("TOP");
    let (client, _) = world.enrol("web7");
    world.deploy("one", everybody());
    let all = [message(1, Word::Starting, "one"), message(2, Word::Failed, "one")];
    for _ in 0..3 {
        let taken = world.clients().take_messages(client, &parcel(&all)).unwrap();
        assert_eq!(taken.through, 2);
    }
    let status = &world.server.deployment_list()[0];
    assert_eq!((status.failed, status.done), (1, 0));
    // What comes late, in part or again: only what is new counts.
    let more = [message(2, Word::Failed, "one"), message(3, Word::Done, "one")];
    world.clients().take_messages(client, &parcel(&more)).unwrap();
    world.clients().take_messages(client, &parcel(&all)).unwrap();
    let shown = world.server.client_details(client).unwrap();
    let numbers: Vec<u64> = shown.messages.iter().map(|one| one.sequence).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(world.server.deployment_list()[0].done, 1);
}

/// A large deployment comes to its end everywhere at once, and a thousand say that they gave up: every result is there for who asks,
/// and each client takes two transactions and no more than it said.
#[test]
fn q140389_results_of_a_whole_fleet_are_all_visible() {
    const CLIENTS: u128 = 2_000;
    let world = World::new("TOP");
    let clients = world.clients();
    let all: Vec<ClientId> = (1..=CLIENTS).map(|number| ClientId(number.to_be_bytes())).collect();
    let known = |client: &ClientId| Change::Client(*client, Box::default());
    clients.write(|_| Ok(((), all.iter().map(known).collect()))).unwrap();
    world.deploy("one", everybody());
    world.deploy("two", everybody());
    let before = clients.fleet().number;
    std::thread::scope(|scope| {
        for part in all.chunks(250) {
            scope.spawn(move || {
                for client in part {
                    let second =
                        if client.0[15].is_multiple_of(2) { Word::Done } else { Word::Failed };
                    for said in [message(1, Word::Done, "one"), message(2, second, "two")] {
                        clients.take_messages(*client, &parcel(&[said])).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(clients.fleet().number - before, 2 * all.len() as u64);
    let status = world.server.deployment_list();
    let counts: Vec<_> = status.iter().map(|one| (one.clients, one.done, one.failed)).collect();
    assert_eq!(counts, [(2_000, 2_000, 0), (2_000, 1_000, 1_000)]);
    let shown = world.server.client_details(all[77]).unwrap();
    let said: Vec<&str> = shown.messages.iter().map(|one| one.word.as_str()).collect();
    assert_eq!(said, ["done", "done"]);
}

/// A report nobody can read is kept as it came, shown, and counts as no success; its neighbours go on.
#[test]
fn q190135_a_malformed_report_is_no_success() {
    let world = World::new("TOP");
    let (client, _) = world.enrol("web7");
    world.deploy("one", everybody());
    world.deploy("two", everybody());
    let long = vec![b'x'; 1 << 20];
    let raws: [&[u8]; 5] =
        [b"", b"done \"quoted\" \\ back", b"\xff\xfe", b"{\"word\":\"done\"}", &long];
    for (number, raw) in (1..).zip(raws) {
        let unreadable = running::Unreadable { bytes: raw.to_vec(), reason: "odd".to_owned() };
        let odd = Parcel { series: 7, messages: vec![(number, Err(unreadable))] };
        assert_eq!(world.clients().take_messages(client, &odd).unwrap().through, number);
    }
    world.clients().take_messages(client, &parcel(&[message(6, Word::Done, "two")])).unwrap();
    let all = world.server.deployment_list();
    assert_eq!((all[0].done, all[0].waiting + all[0].silent, all[1].done), (0, 1, 1));
    let shown = world.server.client_details(client).unwrap();
    assert_eq!(shown.summary.unreadable, 5);
    let kept: Vec<&str> = shown
        .messages
        .iter()
        .filter(|one| one.word == "unreadable")
        .map(|one| one.evidence.as_str())
        .collect();
    assert_eq!(kept.len(), 5);
    assert_eq!(kept[1], "done \"quoted\" \\ back");
}

/// Many at once write collections and deployments; whatever is offered is what the tables say, after a restart too.
#[test]
fn q234850_offers_follow_from_the_source_records_whoever_writes_at_once() {
    let world = World::new("TOP");
    let clients: Vec<ClientId> = (0..4).map(|n| world.enrol(&format!("m{n}")).0).collect();
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (server, clients) = (&world.server, &clients);
            let world = &world;
            scope.spawn(move || {
                for round in 0..12_usize {
                    let name = format!("c{thread}-{round}");
                    let spec = CollectionSpec {
                        name: name.as_str().into(),
                        members: [clients[(thread + round) % 4]].into(),
                        ..CollectionSpec::default()
                    };
                    server.save_collection(&spec).unwrap();
                    let target =
                        Target { collections: vec![name.as_str().into()], ..Target::default() };
                    world.deploy(&format!("d{thread}-{round}"), target);
                }
            });
        }
    });
    let fresh = {
        let mut storage = world.folder().storage(&world.folder().settings().unwrap()).unwrap();
        let read = storage.records(0).unwrap();
        let mut fleet = Fleet::default();
        fleet.take(&read.records);
        fleet.number = read.number;
        fleet
    };
    assert_eq!(fresh.damaged, Vec::<String>::new());
    for (at, client) in clients.iter().enumerate() {
        let making = world.clients().making();
        let content = |fleet: &Fleet| {
            deployment::content_of(&fleet.document(*client, &making).write()).unwrap().1
        };
        let document = fresh.document(*client, &making);
        let mut offered: Vec<String> =
            document.deployments.iter().map(|one| one.id.to_string()).collect();
        let mut meant: Vec<String> = (0..4_usize)
            .flat_map(|thread| (0..12_usize).map(move |round| (thread, round)))
            .filter(|(thread, round)| (thread + round) % 4 == at)
            .map(|(thread, round)| format!("d{thread}-{round}"))
            .collect();
        offered.sort();
        meant.sort();
        assert_eq!(offered, meant);
        assert_eq!(content(&fresh), content(&world.clients().fleet()));
    }
}

#[test]
fn another_process_on_the_same_tables_decides_by_what_was_written_last() {
    let world = World::new("TOP");
    let settings = world.folder().settings().unwrap();
    let known = (SiteCode::new("TOP").unwrap(), 0, world.server.desk().moment());
    let other = Clients::open(&world.folder(), &settings, known, false).unwrap();
    let (client, _) = world.enrol("web7");
    world.deploy("one", everybody());
    // It wrote last when there was no client yet: it reads, and decides again.
    let taken = other.take_messages(client, &parcel(&[message(1, Word::Done, "one")])).unwrap();
    assert_eq!(taken.through, 1);
    world.clients().take_messages(client, &parcel(&[message(1, Word::Done, "one")])).unwrap();
    world.clients().catch_up().unwrap();
    assert_eq!(world.server.deployment_list()[0].done, 1);
    assert_eq!(world.server.client_details(client).unwrap().messages.len(), 1);
}

#[test]
fn an_inventory_comes_whole_or_as_what_changed_and_moves_collections() {
    let world = World::new("TOP");
    let (client, _) = world.enrol("web7");
    let rule = Some("machine.memory > 1000".to_owned());
    let large = CollectionSpec { name: "large".into(), rule, ..CollectionSpec::default() };
    world.server.save_collection(&large).unwrap();
    let size = |server: &Server| {
        let one = server.collection_list().remove(0);
        (one.members, one.unknown)
    };
    assert_eq!(size(&world.server), (0, 1), "nothing is known yet, and that is no yes");
    let memory = |bytes: i64| {
        let mut inventory = Inventory::default();
        inventory.number(InventoryKey::Machine(MachineField::Memory), bytes);
        inventory
    };
    let clients = world.clients();
    let whole = InventoryReport::Whole(memory(2_000));
    assert!(clients.take_inventory(client, &whole).unwrap().taken);
    assert_eq!(size(&world.server), (1, 0));
    let delta = InventoryReport::Delta(memory(2_000).delta(&memory(10)));
    assert!(clients.take_inventory(client, &delta).unwrap().taken);
    assert_eq!(size(&world.server), (0, 0));
    assert!(!clients.take_inventory(client, &delta).unwrap().taken, "it leads from another one");
    assert_eq!(size(&world.server), (0, 0));
    let preview = world.server.preview("machine.memory < 100").unwrap();
    assert_eq!(preview.size.members, 1);
    assert!(world.server.preview("nonsense(").is_err());
}

#[test]
fn a_restart_of_the_site_forgets_nothing() {
    let world = World::new("TOP");
    let (client, own) = world.enrol("web7");
    world.deploy("one", everybody());
    world.server.pause_deployment("one", "anna").unwrap();
    let (status, _) = world.ask(Some(&own), "client/policy", |request| request).unwrap();
    assert_eq!(status, StatusCode::OK);
    world.clients().take_messages(client, &parcel(&[message(1, Word::Done, "one")])).unwrap();
    world.clients().settle();
    let settings = world.folder().settings().unwrap();
    let known = (SiteCode::new("TOP").unwrap(), 0, world.server.desk().moment());
    let again = Clients::open(&world.folder(), &settings, known, false).unwrap();
    assert_eq!(again.content(client), world.clients().content(client));
    assert!(again.seen().contains_key(&client));
    let fleet = again.fleet();
    let here = fleet.rollouts.values().next().unwrap();
    assert_eq!(here.tally().succeeded, 1);
    assert!(matches!(here.status(), deployment::RolloutStatus::Paused { .. }));
}

#[test]
fn two_machines_of_one_identity_are_told_apart_by_their_starts() {
    let world = World::new("TOP");
    let (client, own) = world.enrol("web7");
    let boot = |number: &'static str| move |request: RequestBuilder| request.header("boot", number);
    for number in ["a", "b"] {
        world.ask(Some(&own), "client/policy", boot(number)).unwrap();
    }
    assert_eq!(world.server.client_list()[0].note, None, "a machine that was started again");
    world.ask(Some(&own), "client/policy", boot("a")).unwrap();
    let note = world.server.client_details(client).unwrap().summary.note.unwrap();
    assert!(note.contains("two machines"), "{note}");
}

fn window(name: &str, cadence: &str, minutes: u32, target: Target) -> SiteWindow {
    let opens = Recurrence {
        from: "2026-01-01T02:00".parse().unwrap(),
        zone: Zone::Named("UTC".into()),
        cadence: cadence.parse().unwrap(),
    };
    SiteWindow { window: Window { name: name.into(), opens, minutes, until: None }, target }
}

fn members(collection: &str) -> Target {
    Target { collections: vec![collection.into()], ..Target::default() }
}

fn opens(world: &World, client: ClientId) -> Vec<(String, bool)> {
    let windows = world.clients().fleet().windows_of(client);
    windows.iter().map(|one| (one.name.to_string(), one.until.is_none())).collect()
}

#[test]
fn windows_reach_whose_they_are_and_one_that_may_be_a_client_s_never_opens_for_it() {
    let world = World::new("TOP");
    let (large, small, silent) =
        (world.enrol("large").0, world.enrol("small").0, world.enrol("silent").0);
    let rule = Some("machine.memory > 1000".to_owned());
    let spec = CollectionSpec { name: "large".into(), rule, ..CollectionSpec::default() };
    world.server.save_collection(&spec).unwrap();
    for (client, bytes) in [(large, 2_000), (small, 10)] {
        let mut inventory = Inventory::default();
        inventory.number(InventoryKey::Machine(MachineField::Memory), bytes);
        world.clients().take_inventory(client, &InventoryReport::Whole(inventory)).unwrap();
    }
    let before = world.clients().content(large);
    world.server.save_window(&window("night", "day", 60, members("large"))).unwrap();
    assert_ne!(world.clients().content(large), before, "it hears of it at once");
    assert_eq!(opens(&world, large), [("night".to_owned(), true)]);
    assert_eq!(opens(&world, small), []);
    assert_eq!(opens(&world, silent), [("night".to_owned(), false)]);
    let shown = world.server.window_list();
    assert_eq!((shown[0].clients, shown[0].next.is_some()), (1, true));
    assert_eq!(shown[0].when, "day at 02:00 for 1 h, in UTC, from 2026-01-01");
    let said = world.server.remove_collection("large").unwrap_err().to_string();
    assert!(said.contains("window `night`"), "{said}");
    world.server.remove_window("night").unwrap();
    assert_eq!(opens(&world, large), []);
    assert_eq!(world.clients().content(large), before);
}

#[test]
fn a_window_nobody_can_read_is_one_that_never_opens() {
    let mut fleet = Fleet::default();
    let bad = Record {
        kind: RecordKind::Window,
        name: "night".to_owned(),
        body: Some(b"{\"window\":7}".to_vec()),
    };
    fleet.take(&[bad]);
    assert_eq!(fleet.damaged.len(), 1);
    let windows = fleet.windows_of(ClientId([1; 16]));
    let zone = jiff::tz::TimeZone::UTC;
    let zones = deployment::Zones { database: jiff::tz::db(), client: &zone };
    let now = jiff::Timestamp::now();
    let openness = deployment::Windows::new(&windows, !windows.is_empty(), zones).at(now);
    assert_eq!(openness, deployment::Openness::Closed(None));
}

#[test]
fn windows_nobody_can_have_meant_are_refused() {
    let world = World::new("TOP");
    let refused = |new: &SiteWindow| world.server.save_window(new).unwrap_err().to_string();
    let said = refused(&window("", "day", 60, everybody()));
    assert!(said.contains("is named with"), "{said}");
    let said = refused(&window("night", "day", 0, everybody()));
    assert!(said.contains("0 minutes"), "{said}");
    let said = refused(&window("night", "6 hours", 60, everybody()));
    assert!(said.contains("wall clocks"), "{said}");
    let said = refused(&window("night", "day", 60, Target::default()));
    assert!(said.contains("nobody's"), "{said}");
    let said = refused(&window("night", "day", 60, members("none")));
    assert!(said.contains("no collection `none`"), "{said}");
    let mut elsewhere = window("night", "day", 60, everybody());
    elsewhere.window.opens.zone = Zone::Named("Europe/Nowhere".into());
    let said = refused(&elsewhere);
    assert!(said.contains("Europe/Nowhere"), "{said}");
    assert!(world.server.window_list().is_empty());
}

#[test]
fn authors_hear_what_can_never_run_and_what_will_wait() {
    let world = World::new("TOP");
    world.server.save_window(&window("night", "day", 60, everybody())).unwrap();
    let new = |id: &str, estimate: Option<u32>, after: &[&str]| NewDeployment {
        id: id.to_owned(),
        command: Some(CommandLine::Shell("true".to_owned())),
        target: everybody(),
        estimate,
        depends_on: after.iter().map(|id| id.parse().unwrap()).collect(),
        supersedes: vec!["old".parse().unwrap()],
        ..NewDeployment::default()
    };
    let long = || world.server.deploy(&new("long", Some(7_200), &[])).unwrap_err().to_string();
    let said = long();
    assert!(said.contains("it takes 2 h"), "{said}");
    let (web, _) = world.enrol("web");
    world.enrol("desk");
    assert_eq!(long(), said);
    let said = world.server.deploy(&new("late", None, &["base"])).unwrap_err().to_string();
    assert!(said.contains("`base`"), "{said}");
    let base = NewDeployment {
        target: Target { clients: vec![web], ..Target::default() },
        ..new("base", Some(60), &[])
    };
    world.server.deploy(&base).unwrap();
    let deployed = world.server.deploy(&new("late", Some(600), &["base"])).unwrap();
    let said = deployed.warnings.join("\n");
    assert!(said.contains("1 of its 2 clients"), "{said}");
    assert!(said.contains("supersedes `old`, which is not deployed"), "{said}");
    let document = world.clients().fleet().document(web, &world.clients().making());
    let late = document.deployments.iter().find(|one| one.id.as_str() == "late").unwrap();
    assert_eq!(late.program.estimate, Some(600));
    assert_eq!(late.depends_on.len(), 1);
    assert_eq!(document.windows.len(), 1);
}
