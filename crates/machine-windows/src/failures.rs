//! Services that start late, and what follows when one fails.

use std::{io, ptr};

use model::{Failure, Recovery, RecoveryAction, ServiceSetup};
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, SC_ACTION, SERVICE_CONFIG_DELAYED_AUTO_START_INFO,
    SERVICE_CONFIG_FAILURE_ACTIONS, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG,
    SERVICE_DELAYED_AUTO_START_INFO, SERVICE_FAILURE_ACTIONS_FLAG, SERVICE_FAILURE_ACTIONSW,
};

use crate::{
    names::wide,
    services::{Handle, done, more, text_at},
};

/// Seconds that mean never.
const NEVER: u32 = u32::MAX;

/// Whether a service starts after the others.
#[expect(unsafe_code, reason = "the interface answers with bytes")]
pub(crate) fn delayed(service: &Handle) -> io::Result<bool> {
    let buffer = more(service, SERVICE_CONFIG_DELAYED_AUTO_START_INFO)?;
    // SAFETY: the buffer holds the structure asked for.
    let found = unsafe { &*buffer.as_ptr().cast::<SERVICE_DELAYED_AUTO_START_INFO>() };
    Ok(found.fDelayedAutostart != 0)
}

/// What follows when it fails, and the command line of that.
#[expect(unsafe_code, reason = "the interface answers with pointers into a buffer")]
pub(crate) fn recovery(service: &Handle) -> io::Result<(Recovery, String)> {
    let flag = more(service, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG)?;
    let buffer = more(service, SERVICE_CONFIG_FAILURE_ACTIONS)?;
    // SAFETY: the buffers hold the structures asked for; what the second points to is null or lies in it, as many
    // actions as it says.
    unsafe {
        let flag = &*flag.as_ptr().cast::<SERVICE_FAILURE_ACTIONS_FLAG>();
        let found = &*buffer.as_ptr().cast::<SERVICE_FAILURE_ACTIONSW>();
        let actions = if found.lpsaActions.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(found.lpsaActions, found.cActions as usize)
        };
        let actions = actions.iter().map(|action| RecoveryAction {
            failure: usize::try_from(action.Type)
                .ok()
                .and_then(|number| Failure::ALL.get(number).copied())
                .unwrap_or_default(),
            delay: action.Delay,
        });
        let recovery = Recovery {
            actions: actions.collect(),
            reset: Some(found.dwResetPeriod).filter(|seconds| ![0, NEVER].contains(seconds)),
            message: text_at(found.lpRebootMsg),
            errors_too: flag.fFailureActionsOnNonCrashFailures != 0,
        };
        Ok((recovery, text_at(found.lpCommand)))
    }
}

/// Sets both, as far as they are said; a new service has neither.
pub(crate) fn set(service: &Handle, setup: &ServiceSetup, is_new: bool) -> io::Result<()> {
    if let Some(delayed) = setup.delayed.filter(|delayed| *delayed || !is_new) {
        let structure = SERVICE_DELAYED_AUTO_START_INFO { fDelayedAutostart: i32::from(delayed) };
        tell(service, SERVICE_CONFIG_DELAYED_AUTO_START_INFO, &structure)?;
    }
    let said = setup.recovery.as_deref();
    let Some((recovery, command)) =
        said.filter(|(recovery, _)| !is_new || *recovery != Recovery::default())
    else {
        return Ok(());
    };
    let flag = SERVICE_FAILURE_ACTIONS_FLAG {
        fFailureActionsOnNonCrashFailures: i32::from(recovery.errors_too),
    };
    tell(service, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, &flag)?;
    let (mut command, mut message) = (wide(command), wide(&recovery.message));
    let action =
        |action: &RecoveryAction| SC_ACTION { Type: action.failure as i32, Delay: action.delay };
    let mut actions: Vec<SC_ACTION> = recovery.actions.iter().map(action).collect();
    let count = u32::try_from(actions.len()).unwrap_or(u32::MAX);
    // Where no action is meant to be left, the pointer must lead somewhere: null leaves all as it was.
    actions.push(SC_ACTION { Type: 0, Delay: 0 });
    let structure = SERVICE_FAILURE_ACTIONSW {
        dwResetPeriod: recovery.reset.unwrap_or(if count == 0 { 0 } else { NEVER }),
        lpRebootMsg: message.as_mut_ptr(),
        lpCommand: command.as_mut_ptr(),
        cActions: count,
        lpsaActions: actions.as_mut_ptr(),
    };
    tell(service, SERVICE_CONFIG_FAILURE_ACTIONS, &structure)
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn tell<T>(service: &Handle, kind: u32, structure: &T) -> io::Result<()> {
    // SAFETY: the handle is open, and each caller's structure is the one of this kind and outlives the call.
    done(unsafe { ChangeServiceConfig2W(service.0, kind, ptr::from_ref(structure).cast()) })
}
