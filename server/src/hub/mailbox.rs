//! What other threads tell a worker.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use crate::hub::{Channel, ClientInfo, Publication};

/// One thing told to a worker.
#[derive(Debug)]
pub enum Mail {
    /// To the worker's subscribers of this channel, for which the worker has this number.
    Publication(Arc<Channel>, u32, Arc<Publication>),
    /// To the worker's subscribers of this channel that want to know who comes and goes. The worker releases [`PRESENCE_BYTES`] once they are told.
    #[allow(missing_docs, reason = "see the variant")]
    Presence { channel: Arc<Channel>, local: u32, info: Arc<ClientInfo>, comes: bool },
    /// To clients of the worker.
    Clients(Arc<ClientOrder>),
    /// Stop accepting, close every connection, end.
    Shutdown,
}

/// What a [`Mail::Presence`] counts.
pub const PRESENCE_BYTES: usize = 256;

impl Mail {
    /// What it counts in the mailbox, and until it is delivered.
    fn bytes(&self) -> usize {
        match self {
            Mail::Publication(.., publication) => publication.bytes(),
            Mail::Presence { .. } => PRESENCE_BYTES,
            Mail::Clients(_) | Mail::Shutdown => 0,
        }
    }
}

/// What a backend wants done with a user's clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOrder {
    /// Whose; empty: anonymous clients.
    pub user: Box<str>,
    /// Only this one, unless empty.
    pub client: Box<str>,
    /// From this channel they are unsubscribed; without one they are disconnected.
    pub unsubscribe: Option<Box<str>>,
    /// Whether a disconnected client may come back.
    pub reconnect: bool,
}

/// Wakes a worker from its wait.
type Waker = Box<dyn Fn() + Send + Sync>;

/// A worker's mailbox: any thread posts, the worker takes. It is bounded in bytes: publishers ask [`is_full`](Mailbox::is_full) first, and the worker
/// [`release`](Mailbox::release)s a publication's bytes once it is delivered.
pub struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    /// The worker waits, or is about to: it must be woken.
    asleep: AtomicBool,
    waker: OnceLock<Waker>,
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Mailbox {
    /// An empty mailbox.
    pub fn new(bytes_max: usize) -> Mailbox {
        Mailbox { mail: Mutex::default(), asleep: AtomicBool::new(false), waker: OnceLock::new(), bytes: AtomicUsize::new(0), bytes_max }
    }

    /// How the worker is woken; set once, before it first sleeps.
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) {
        let _ = self.waker.set(Box::new(waker));
    }

    /// Whether what is posted and not delivered has reached the limit.
    pub fn is_full(&self) -> bool {
        self.bytes.load(Relaxed) >= self.bytes_max
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Posts one mail and wakes the worker if it sleeps.
    pub fn post(&self, mail: Mail) {
        self.hold(mail.bytes());
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        if self.asleep.swap(false, SeqCst)
            && let Some(wake) = self.waker.get()
        {
            wake();
        }
    }

    /// Moves all mail into `into`, which is empty.
    pub fn take(&self, into: &mut Vec<Mail>) {
        std::mem::swap(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner), into);
    }

    /// The worker is about to wait. Whether it may: not if there is mail. From here on a post wakes it, until it is [`awake`](Mailbox::awake).
    pub fn may_sleep(&self) -> bool {
        self.asleep.store(true, SeqCst);
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The worker has waited and will look into its mailbox before it waits again.
    pub fn awake(&self) {
        self.asleep.store(false, SeqCst);
    }

    /// So many bytes of publications wait for longer.
    pub fn hold(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// So many bytes of publications have been delivered or dropped.
    pub fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
