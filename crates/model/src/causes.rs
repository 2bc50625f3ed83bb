use std::error::Error;

/// An error and what caused it, in one line: each cause after a colon. A cause that is quoted already is said once.
pub fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = next.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::{error::Error, fmt};

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as &dyn Error)
        }
    }

    #[test]
    fn each_cause_is_said_once() {
        let disk = Layer("no room", None);
        let file = Layer("cannot write `a`", Some(Box::new(disk)));
        let quoting = Layer("stopped: cannot write `a`", Some(Box::new(file)));
        assert_eq!(super::with_causes(&quoting), "stopped: cannot write `a`: no room");
    }
}
