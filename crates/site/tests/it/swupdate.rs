//! Devices nobody here wrote against our server: Debian's `swupdate`, as it is, and the `hawkbit` crate.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use hawkbit::ddi::{ClientAuthorization, Execution, Finished};
use serde_json::{Value, json};
use site::{Client, DeploymentStatus, Folder, NewDeployment, Target};
use testkit::Sample;

use crate::process::{DDI, Process, client, settled, wait_for};

/// It asks every ten seconds or so.
const PATIENCE: Duration = Duration::from_mins(3);

/// A site with one device, and a device.
struct World {
    home: tempfile::TempDir,
    _process: Process,
    asked: Client,
    at: String,
    key: String,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(&home.path().join("site"));
        site::init(&folder, "TOP", None).unwrap();
        let settings = "client-check-in = 10\n";
        fs::write(folder.path().join("site.toml"), settings).unwrap();
        let at = testkit::free_address().to_string();
        let process = Process::start_in(&folder, None, &[(DDI, &at)]);
        let asked = client(&folder);
        let key = asked.add_foreign("gate3").unwrap();
        Self { home, _process: process, asked, at, key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Publishes a package with this file, and deploys it to all.
    fn deploy(&self, id: &str, version: &str, name: &str, content: &[u8]) {
        let mut sample = Sample::new("firmware", version);
        let tree = sample.tree("/srv/firmware");
        sample.file(tree, name, content);
        let file = self.path(&format!("firmware-{version}.package"));
        fs::write(&file, sample.bytes()).unwrap();
        self.asked.publish(&file, false).unwrap();
        settled(&self.asked);
        let new = NewDeployment {
            id: id.to_owned(),
            package: Some(crate::world::name("firmware")),
            version: Some(version.to_owned()),
            target: Target { everybody: true, ..Target::default() },
            ..NewDeployment::default()
        };
        self.asked.deploy(&new).unwrap();
    }

    fn status(&self, id: &str) -> DeploymentStatus {
        self.asked.deployments().unwrap().into_iter().find(|one| one.deployment == id).unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/TOP/controller/v1/gate3{path}", self.at)
    }

    fn ask(&self, url: &str) -> (u16, Value) {
        let http = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let shown = format!("TargetToken {}", self.key);
        let answer = http.get(url).header("authorization", shown).send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap_or_default())
    }

    fn say(&self, put: bool, url: &str, body: &Value) -> u16 {
        let http = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let request = if put { http.put(url) } else { http.post(url) };
        let shown = format!("TargetToken {}", self.key);
        request.header("authorization", shown).json(body).send().unwrap().status().as_u16()
    }

    /// `swupdate` as a daemon of the device.
    fn swupdate(&self, log: &str, more: &str) -> Daemon {
        let log = fs::File::create(self.path(log)).unwrap();
        let about = "globals : { };\nidentify : ( { name = \"board\"; value = \"gate\"; } );\n";
        fs::write(self.path("swupdate.cfg"), about).unwrap();
        let own = format!("-t TOP -u http://{} -i gate3 -k {} {more}", self.at, self.key);
        let mut command = Command::new("swupdate");
        command
            .arg("-f")
            .arg(self.path("swupdate.cfg"))
            .args(["-l", "5", "-H", "gate:1.0", "-k"])
            .arg(self.path("signer.pem"))
            .args(["-u", &own]);
        // Its sockets, and what it unpacks.
        command.env("TMPDIR", self.home.path()).env("RUNTIME_DIRECTORY", self.home.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Daemon(command.process_group(0).spawn().unwrap())
    }

    fn log(&self, log: &str) -> String {
        fs::read_to_string(self.path(log)).unwrap_or_default()
    }
}

/// It and what it started end with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

fn run(folder: &Path, line: &str) {
    let output = Command::new("sh").args(["-ec", line]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A signed image that writes a file.
fn image(folder: &Path, to: &Path, text: &str) -> Vec<u8> {
    fs::write(folder.join("hello.txt"), text).unwrap();
    run(
        folder,
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out signer.pem -subj /CN=test -days 2 \
         -addext extendedKeyUsage=emailProtection -addext keyUsage=digitalSignature 2> /dev/null",
    );
    let line = format!(
        "sum=$(sha256sum hello.txt | cut -d' ' -f1)
         printf 'software = {{ version = \"1.0\"; hardware-compatibility: [ \"1.0\" ]; files: ({{ filename = \"hello.txt\"; path = \"{}\"; sha256 = \"%s\"; }}); }}\\n' $sum > sw-description
         openssl cms -sign -in sw-description -out sw-description.sig -signer signer.pem -inkey key.pem -outform DER -nosmimecap -binary
         for file in sw-description sw-description.sig hello.txt; do echo $file; done | cpio -o -H crc --quiet > update.swu",
        to.display()
    );
    run(folder, &line);
    fs::read(folder.join("update.swu")).unwrap()
}

/// A whole deployment: it describes itself, fetches the image, installs it, and says so after its restart.
#[test]
fn debians_swupdate_completes_a_deployment() {
    let world = World::new();
    let installed = world.path("installed.txt");
    let image = image(world.home.path(), &installed, "the new firmware");
    world.deploy("firmware", "1.0", "update.swu", &image);
    {
        let _daemon = world.swupdate("first.log", "-p 1");
        wait_for(PATIENCE, "the image to be installed", || {
            let is_there =
                fs::read_to_string(&installed).is_ok_and(|text| text == "the new firmware");
            let shown = world.asked.client("gate3").unwrap();
            (is_there && !shown.messages.is_empty()).then_some(())
        });
        assert_eq!(world.status("firmware").done, 0, "it is done after its restart");
    }
    let _daemon = world.swupdate("second.log", "-p 1 -c 2");
    wait_for(PATIENCE, "its word that it is done", || {
        (world.status("firmware").done == 1).then_some(())
    });
    let words: Vec<String> = world
        .asked
        .client("gate3")
        .unwrap()
        .messages
        .iter()
        .map(|message| message.word.clone())
        .collect();
    assert_eq!(
        (words.first().unwrap().as_str(), words.last().unwrap().as_str()),
        ("starting", "done")
    );
    assert_eq!(
        words.iter().filter(|word| *word == "done").count(),
        1,
        "{}",
        world.log("second.log")
    );
    let (_, shown) = world.ask(&world.url(""));
    assert_eq!(shown["_links"], json!({}), "there is nothing more to be done");
}

/// What `swupdate` does not come across.
#[test]
fn a_device_is_told_once_fetches_in_parts_is_stopped_and_may_try_again() {
    let world = World::new();
    let (status, _) = world.ask(&world.url("").replace("gate3", "gate4"));
    assert_eq!(status, 401, "the key of another device");
    let link =
        |shown: &Value, name: &str| shown["_links"][name]["href"].as_str().map(str::to_owned);
    let (_, shown) = world.ask(&world.url(""));
    assert_eq!(shown["config"]["polling"]["sleep"].as_str().unwrap().len(), 8);
    let describe = link(&shown, "configData").unwrap();
    assert_eq!(
        world.say(true, &describe, &json!({ "mode": "merge", "data": { "hw": "a" }, "id": "" })),
        200
    );
    let (_, shown) = world.ask(&world.url(""));
    assert_eq!(shown["_links"], json!({}), "what was said is not asked for again");

    world.deploy("firmware", "1.0", "update.swu", b"0123456789");
    let (_, shown) = world.ask(&world.url(""));
    let order = link(&shown, "deploymentBase").unwrap();
    let (_, told) = world.ask(&order);
    let artifact = &told["deployment"]["chunks"][0]["artifacts"][0];
    assert_eq!((&artifact["filename"], &artifact["size"]), (&json!("update.swu"), &json!(10)));
    assert_eq!(artifact["hashes"]["sha1"], "87acec17cd9dcd20a716cc2cf67417b71c8a7016");
    let href = artifact["_links"]["download-http"]["href"].as_str().unwrap();
    let http = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let shown_key = format!("TargetToken {}", world.key);
    let part = http.get(href).header("authorization", &shown_key).header("range", "bytes=4-6");
    let part = part.send().unwrap();
    assert_eq!((part.status().as_u16(), part.text().unwrap().as_str()), (206, "456"));
    assert_eq!(http.get(href).send().unwrap().status().as_u16(), 401, "content is for devices");

    let say = |order: &str, execution: &str, finished: &str| {
        let result = json!({ "finished": finished, "progress": { "cnt": 1, "of": 2 } });
        let status = json!({ "execution": execution, "result": result, "details": ["so"] });
        world.say(false, &format!("{order}/feedback"), &json!({ "id": 1, "status": status }))
    };
    assert_eq!(say(&order, "proceeding", "none"), 200);
    assert_eq!(say(&order, "jumping", "none"), 400);
    assert_eq!(world.say(false, &format!("{order}/feedback"), &json!("what?")), 400);
    assert_eq!(world.status("firmware").running, 1);
    assert_eq!(say(&order, "closed", "failure"), 200);
    assert_eq!(say(&order, "closed", "failure"), 410, "it is closed");
    assert_eq!(world.status("firmware").failed, 1);
    assert_eq!(world.ask(&order).0, 410);
    assert_eq!(world.ask(&world.url("")).1["_links"], json!({}));

    // Another try is another order.
    world.asked.steer("firmware", "retry", "anna", &[]).unwrap();
    let (_, shown) = world.ask(&world.url(""));
    let again = link(&shown, "deploymentBase").unwrap();
    assert_ne!(again, order);
    assert_eq!(world.ask(&again).0, 200);
    assert_eq!(say(&again, "proceeding", "none"), 200);
    // It is stopped while it is under way.
    world.asked.steer("firmware", "stop", "anna", &[]).unwrap();
    let (_, shown) = world.ask(&world.url(""));
    assert_eq!(link(&shown, "deploymentBase"), None);
    let cancel = link(&shown, "cancelAction").unwrap();
    let (_, told) = world.ask(&cancel);
    assert_eq!(told["cancelAction"]["stopId"], told["id"]);
    assert_eq!(say(&cancel, "closed", "success"), 200);
    assert_eq!(world.ask(&world.url("")).1["_links"], json!({}));
    assert_eq!(world.ask(&cancel).0, 410);
    let unpacked = || fs::read_dir(world.path("site/artifacts")).unwrap().count();
    assert_eq!(unpacked(), 1);
    world.asked.remove_deployment("firmware").unwrap();
    assert_eq!(unpacked(), 0, "what is deployed no longer takes no room");
}

#[test]
fn the_hawkbit_crate_completes_a_deployment() {
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("http://{}", world.at);
    let auth = ClientAuthorization::TargetToken(world.key.clone());
    let device = hawkbit::ddi::Client::new(&url, "TOP", "gate3", auth, None, None, None).unwrap();
    let to = world.path("downloaded");
    runtime.block_on(async {
        let asked = device.poll().await.unwrap();
        // Around what the site was told, so that not all devices call at once.
        let pause = asked.polling_sleep().unwrap();
        assert!((8..=12).contains(&pause.as_secs()), "{pause:?}");
        assert!(asked.update().is_none());
        let describe = asked.config_data_request().unwrap();
        let data = json!({ "hw": "a" });
        describe.upload(Execution::Closed, Finished::Success, None, data, vec![]).await.unwrap();
    });
    let content = b"0123456789".repeat(100_000);
    world.deploy("firmware", "1.0", "update.swu", &content);
    let update = runtime.block_on(async {
        let asked = device.poll().await.unwrap();
        assert!(asked.config_data_request().is_none() && asked.cancel_action().is_none());
        let update = asked.update().unwrap().fetch().await.unwrap();
        update
            .send_feedback(Execution::Proceeding, Finished::None, vec!["downloads"])
            .await
            .unwrap();
        let files = update.download(&to).await.unwrap();
        assert_eq!(files.len(), 1);
        files[0].check_sha256().await.unwrap();
        assert_eq!(fs::read(files[0].file()).unwrap(), content);
        update
    });
    assert_eq!(world.status("firmware").running, 1);
    runtime.block_on(async {
        update.send_feedback(Execution::Closed, Finished::Success, vec![]).await.unwrap();
        assert!(device.poll().await.unwrap().update().is_none());
    });
    assert_eq!(world.status("firmware").done, 1);
}
