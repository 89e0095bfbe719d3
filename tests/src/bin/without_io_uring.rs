//! Runs a command as if the kernel's io_uring were missing, forbidden or old: `without_io_uring missing|forbidden|old COMMAND [ARGUMENT]...`
//!
//! A seccomp filter, which the command inherits, answers the system calls in the kernel's place. Imports nothing.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter};

/// System calls added since Linux 5.1 have one number on every architecture.
const IO_URING_SETUP: i64 = 425;
const IO_URING_REGISTER: i64 = 427;
/// What `io_uring_register` is asked for, its second argument: a ring of provided buffers, which Linux has since 5.19.
const IORING_REGISTER_PBUF_RING: u64 = 22;

const EPERM: u32 = 1;
const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let kernel = arguments.next().ok_or("which kernel?")?;
    let command = arguments.next().ok_or("which command?")?;
    let filter = match kernel.to_str() {
        Some("missing") => filter(IO_URING_SETUP, Vec::new(), ENOSYS)?,
        // As the sysctl kernel.io_uring_disabled has it.
        Some("forbidden") => filter(IO_URING_SETUP, Vec::new(), EPERM)?,
        Some("old") => filter(IO_URING_REGISTER, vec![registers(IORING_REGISTER_PBUF_RING)?], EINVAL)?,
        _ => return Err("a kernel is missing, forbidden or old".into()),
    };
    apply_filter(&filter)?;
    Err(Command::new(command).args(arguments).exec().into())
}

/// Answers the calls that match any of the rules, or all where there is none, with an error.
fn filter(call: i64, rules: Vec<SeccompRule>, errno: u32) -> Result<BpfProgram, Box<dyn Error>> {
    let calls = BTreeMap::from([(call, rules)]);
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, SeccompAction::Errno(errno), env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

fn registers(what: u64) -> Result<SeccompRule, Box<dyn Error>> {
    let condition = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, what)?;
    Ok(SeccompRule::new(vec![condition])?)
}
