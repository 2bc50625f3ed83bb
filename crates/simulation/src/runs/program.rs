use model::{ExitMeaning, Hash};
use running::{Order, Pauses, Rerun, RunId};

use crate::Dice;

/// Something deployed, and how it behaves.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub(crate) struct Program {
    pub(crate) order: Order,
    /// How each start of it goes; the last goes for all later ones.
    behaviours: Vec<Behaviour>,
    /// How often it began.
    pub(crate) starts: usize,
    /// Whether what it brings is on the machine.
    pub(crate) is_there: bool,
    /// Whether it left word of a success.
    pub(crate) succeeded: bool,
    /// Whether a start of it was cut off.
    pub(crate) was_cut: bool,
    /// Whether somebody decided that it may run once more.
    pub(crate) is_allowed: bool,
    /// Whether somebody said that it is as it should be.
    pub(crate) was_accepted: bool,
}

/// How a start goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// Steps until it brought what it brings; then it ends one step later.
    pub(crate) steps: u64,
    /// Whether it brings it.
    pub(crate) brings: bool,
    /// What its exit code means.
    pub(crate) meaning: ExitMeaning,
    /// Whether it restarts the machine: before it ended, or after.
    pub(crate) restarts: Option<Moment>,
}

/// When a program restarts the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before it ends: nobody sees its end.
    Within,
    /// After it left word.
    After,
}

impl Program {
    /// How the start that begins now goes.
    pub(crate) fn behaviour(&self) -> Behaviour {
        let at = self.starts.saturating_sub(1).min(self.behaviours.len() - 1);
        self.behaviours[at]
    }
}

pub(crate) fn some_programs(dice: &mut Dice) -> Vec<Program> {
    (0..=dice.below(4)).map(|number| some_program(number, dice)).collect()
}

fn some_program(number: u64, dice: &mut Dice) -> Program {
    let restarts = dice.chance(30);
    let order = Order {
        id: RunId::of(&format!("d{number}")),
        digest: Hash::of(&number.to_le_bytes()),
        rerun: if dice.chance(50) { Rerun::Safe } else { Rerun::Ask },
        restarts,
        detects: dice.chance(60),
        pauses: Pauses {
            first: 10,
            longest: 100,
            attempts: 1 + u32::try_from(dice.below(3)).unwrap_or(0),
        },
        round: 0,
        restart_after: false,
    };
    let behaviours = (0..=dice.below(3)).map(|_| some_behaviour(restarts, dice)).collect();
    Program {
        order,
        behaviours,
        starts: 0,
        is_there: dice.chance(5),
        succeeded: false,
        was_cut: false,
        is_allowed: false,
        was_accepted: false,
    }
}

fn some_behaviour(restarts: bool, dice: &mut Dice) -> Behaviour {
    let good = dice.chance(60);
    let meaning = match (good, dice.below(4)) {
        (true, 0) => ExitMeaning::Restart,
        (true, _) => ExitMeaning::Done,
        (false, 0) => ExitMeaning::Retry,
        (false, _) => ExitMeaning::Failed,
    };
    let moment = if dice.chance(50) { Moment::Within } else { Moment::After };
    Behaviour {
        steps: dice.below(4),
        brings: if dice.chance(10) { !good } else { good },
        meaning,
        restarts: (restarts && good).then_some(moment),
    }
}
