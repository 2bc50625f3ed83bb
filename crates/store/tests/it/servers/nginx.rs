//! nginx from Debian's packages: `cargo xtask test` installs it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::Ordering,
};

use store::{FetchError, FetchOptions, Point, PointError};

use super::cutter::Cutter;
use crate::point::{Place, fetch_to, name, noise, place, program};

/// An nginx that serves a folder.
struct Nginx {
    folder: tempfile::TempDir,
    address: SocketAddr,
    scheme: &'static str,
}

impl Nginx {
    /// `server` are lines of its server block, `http` of what is around it.
    fn start(root: &Path, http: &str, server: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = testkit::free_address();
        let (scheme, tls) =
            if server.contains("ssl_certificate") { ("https", " ssl") } else { ("http", "") };
        let at = folder.path().display();
        let user = if is_root() { "user root;" } else { "" };
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .concat();
        let text = format!(
            "{user}\nworker_processes 1;\npid {at}/pid;\nerror_log {at}/errors;\nevents {{}}\nhttp {{\n{temp}{http}\n\
             access_log {at}/requests;\nserver {{\nlisten {address}{tls};\nroot {};\n{server}\n}}\n}}\n",
            root.display()
        );
        std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let nginx = Self { folder, address, scheme };
        // It returns when it listens.
        let status = nginx.command().status().expect("nginx: `cargo xtask test` installs it");
        assert!(status.success(), "{}", nginx.errors());
        nginx
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nginx");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg("-c").arg(self.folder.path().join("nginx.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default()
    }

    fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    fn point(&self) -> Point {
        Point::open(&self.url(), []).unwrap()
    }

    /// Requests it answered, by status.
    fn answered(&self, status: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("requests")).unwrap();
        log.lines().filter(|line| line.contains(&format!("\" {status} "))).count()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.command().args(["-s", "stop"]).status();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Two versions of a program, and something large beside it.
fn published() -> Place {
    let place = place();
    for version in ["1", "2"] {
        let mut sample = program(version);
        sample.file(0, "zz-large", &noise(3_000_000, 9));
        place.publish(&sample);
    }
    place
}

#[test]
fn a_folder_behind_nginx_is_a_distribution_point() {
    let place = published();
    let nginx = Nginx::start(&place.path("dp"), "", "");
    let whole = fetch_to(&nginx.point(), &[], &place.path("whole"));
    assert_eq!(whole.routes, ["whole"]);
    let base = place.path("1.package");
    let delta = fetch_to(&nginx.point(), &[&base], &place.path("delta"));
    assert_eq!(delta.routes, ["delta"]);
    assert!(delta.requests <= 5, "{}", delta.requests);
    assert!(delta.received * 3 < whole.received, "{} of {}", delta.received, whole.received);
}

#[test]
fn a_wire_that_breaks_at_random_bytes_is_gone_on_over() {
    let place = published();
    let nginx = Nginx::start(&place.path("dp"), "", "");
    let cutter = Cutter::start(nginx.address, 400_000, 0x5eed);
    let point = Point::open(&format!("http://{}", cutter.address), []).unwrap();
    let to = place.path("fetched");
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds < 200, "no end");
        let wanted = store::wanted(&point, &name(), &FetchOptions::default(), None);
        match wanted.and_then(|mut wanted| wanted.fetch(&to, &mut |_, _, _| {})) {
            Ok(_) => break,
            Err(FetchError::Point(PointError::Request { .. } | PointError::Damaged { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(cutter.cuts.load(Ordering::SeqCst) >= 5);
    let made = package::PackageReader::open(std::fs::File::open(&to).unwrap()).unwrap();
    let mut sample = program("2");
    sample.file(0, "zz-large", &noise(3_000_000, 9));
    assert_eq!(made.identity(), sample.open().identity());
    // It went on in the middle: ranges were asked for.
    assert!(nginx.answered("206") > 0);
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let place = published();
    let http = "limit_req_zone $binary_remote_addr zone=busy:64k rate=60r/m;";
    let nginx = Nginx::start(&place.path("dp"), http, "limit_req zone=busy nodelay;");
    fetch_to(&nginx.point(), &[], &place.path("fetched"));
    assert!(nginx.answered("503") > 0, "it was never busy");
}

#[test]
fn what_is_not_there_or_has_another_length_is_left_for_the_next_way() {
    let place = published();
    let nginx = Nginx::start(&place.path("dp"), "", "");
    let base = place.path("1.package");
    let delta = place.objects().into_iter().find(|path| path.to_str().unwrap().contains("deltas"));
    let delta = delta.unwrap();
    let bytes = std::fs::read(&delta).unwrap();
    std::fs::write(&delta, &bytes[..bytes.len() / 2]).unwrap();
    let fetched = fetch_to(&nginx.point(), &[&base], &place.path("fetched"));
    assert_eq!(fetched.routes.last().unwrap(), "frames");
    std::fs::remove_file(&delta).unwrap();
    let fetched = fetch_to(&nginx.point(), &[&base], &place.path("fetched"));
    assert_eq!(fetched.routes.last().unwrap(), "frames");
    assert!(nginx.answered("404") > 0);
    std::fs::remove_file(place.path("dp/names/redis")).unwrap();
    let error = store::wanted(&nginx.point(), &name(), &FetchOptions::default(), None).unwrap_err();
    assert!(matches!(error, FetchError::NoPackage { .. }), "{error}");
}

fn openssl(folder: &Path, words: &str) {
    let status = Command::new("openssl").args(words.split(' ')).current_dir(folder).output();
    let output = status.expect("openssl: `cargo xtask test` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority of the house, and a certificate of it for this machine.
fn authority(folder: &Path) -> PathBuf {
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
-subj /CN=House -days 2 -addext basicConstraints=critical,CA:TRUE",
    );
    openssl(
        folder,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr \
-subj /CN=server",
    );
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        folder,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
-out server.pem",
    );
    folder.join("ca.pem")
}

#[test]
fn a_server_of_the_house_needs_the_authority_of_the_house() {
    let place = published();
    let keys = tempfile::tempdir().unwrap();
    let ca = std::fs::read(authority(keys.path())).unwrap();
    let at = keys.path().display();
    let server = format!("ssl_certificate {at}/server.pem;\nssl_certificate_key {at}/server.key;");
    let nginx = Nginx::start(&place.path("dp"), "", &server);
    let point = Point::open_with_authority(&nginx.url(), [], &ca).unwrap();
    assert_eq!(fetch_to(&point, &[], &place.path("fetched")).routes, ["whole"]);
    assert!(Point::open_with_authority(&nginx.url(), [], b"").is_err());
    // Without it nothing is read, whatever is asked.
    let strange = Point::open(&nginx.url(), []).unwrap();
    let error = store::releases(&strange, &name()).unwrap_err();
    assert!(matches!(error, PointError::Request { .. }), "{error}");
}
