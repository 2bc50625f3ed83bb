use install::Facts;
use model::MachinePath;

/// A plain machine with a terabyte free and no systemd running.
#[derive(Clone, Copy, Debug)]
pub struct SimFacts;

impl Facts for SimFacts {
    fn os(&self) -> String {
        "linux".to_owned()
    }

    fn architecture(&self) -> String {
        "x86_64".to_owned()
    }

    fn distribution(&self) -> String {
        "debian".to_owned()
    }

    fn release(&self) -> String {
        "12".to_owned()
    }

    fn kernel(&self) -> String {
        "6.1.0".to_owned()
    }

    fn memory(&self) -> u64 {
        1 << 30
    }

    fn host_name(&self) -> String {
        "target".to_owned()
    }

    fn free_space(&self, _: &MachinePath) -> Option<(u64, u64)> {
        Some((1 << 40, 1))
    }

    fn system_package(&self, _: &str) -> Option<String> {
        None
    }

    fn has_running_systemd(&self) -> bool {
        false
    }
}
