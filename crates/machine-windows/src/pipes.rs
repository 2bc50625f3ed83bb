//! Named pipes of this machine, for administrators and the machine itself: who comes is heard with bounds.

use std::{
    io::{self, Read, Write},
    os::windows::io::{AsHandle, AsRawHandle as _, BorrowedHandle, OwnedHandle},
    path::Path,
    ptr,
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{
        ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_PIPE_BUSY, ERROR_PIPE_CONNECTED, GENERIC_READ,
        GENERIC_WRITE,
    },
    Storage::FileSystem::{
        CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING,
        PIPE_ACCESS_DUPLEX, ReadFile, SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT, WriteFile,
    },
    System::{
        IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED},
        Pipes::{
            ConnectNamedPipe, CreateNamedPipeW, DisconnectNamedPipe, PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES, WaitNamedPipeW,
        },
    },
};

use crate::{
    handles::owned,
    names::wide,
    security::Descriptor,
    services::{done, is},
    waiting::{Event, is_there},
};

/// What may lie in a pipe unread, in bytes.
const ROOM: u32 = 64 << 10;

/// Where others come.
#[derive(Debug)]
pub struct PipeServer {
    name: Vec<u16>,
    /// Who comes next has this one; the structure stays where it is as long as the machine may write there.
    next: OwnedHandle,
    connecting: Box<Overlapped>,
}

/// A wait the machine writes the end of.
struct Overlapped {
    inner: OVERLAPPED,
    event: Event,
}

impl std::fmt::Debug for Overlapped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.event.fmt(formatter)
    }
}

// SAFETY: the structure's pointers are numbers of the machine's, and not of a thread.
#[expect(unsafe_code, reason = "the interface's structure holds a pointer")]
unsafe impl Send for Overlapped {}

impl Overlapped {
    fn new() -> io::Result<Box<Self>> {
        let event = Event::new()?;
        let inner =
            OVERLAPPED { hEvent: event.as_handle().as_raw_handle(), ..OVERLAPPED::default() };
        Ok(Box::new(Self { inner, event }))
    }
}

impl PipeServer {
    /// Listens by a name nobody has yet.
    ///
    /// # Errors
    /// Somebody has it, or we may not.
    pub fn listen(name: &Path) -> io::Result<Self> {
        let name = wide(name);
        let next = instance(&name, FILE_FLAG_FIRST_PIPE_INSTANCE)?;
        let mut server = Self { name, next, connecting: Overlapped::new()? };
        server.connect()?;
        Ok(server)
    }

    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn connect(&mut self) -> io::Result<()> {
        // SAFETY: the handle is open, and the structure is on the heap until the wait has ended.
        let answer =
            unsafe { ConnectNamedPipe(self.next.as_raw_handle(), &raw mut self.connecting.inner) };
        match done(answer) {
            Err(error) if is(&error, ERROR_IO_PENDING) => Ok(()),
            // Somebody came in between.
            Err(error) if is(&error, ERROR_PIPE_CONNECTED) => {
                self.connecting.event.ring();
                Ok(())
            }
            answer => answer,
        }
    }

    /// Who came, if somebody did; every word of his is waited for that long.
    ///
    /// # Errors
    /// Nobody else can come.
    pub fn next(&mut self, patience: Duration) -> io::Result<Option<Pipe>> {
        if !is_there(self.connecting.event.as_handle(), Duration::ZERO)? {
            return Ok(None);
        }
        let next = match instance(&self.name, 0) {
            Ok(next) => next,
            Err(error) => {
                self.send_away()?;
                return Err(error);
            }
        };
        let came = std::mem::replace(&mut self.next, next);
        self.connecting = Overlapped::new()?;
        self.connect()?;
        Ok(Some(Pipe { handle: came, patience }))
    }

    /// Who came is not heard, so that others can come.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn send_away(&mut self) -> io::Result<()> {
        // SAFETY: the handle is open, and nobody waits with it.
        done(unsafe { DisconnectNamedPipe(self.next.as_raw_handle()) })?;
        self.connecting = Overlapped::new()?;
        self.connect()
    }
}

impl AsHandle for PipeServer {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.connecting.event.as_handle()
    }
}

impl Drop for PipeServer {
    fn drop(&mut self) {
        end(&self.next, &mut self.connecting);
    }
}

/// Ends a wait, and returns once the machine writes nothing any more.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn end(handle: &OwnedHandle, waiting: &mut Overlapped) -> u32 {
    let mut count = 0;
    // SAFETY: the handle is open, and the structure is the one that was waited with.
    unsafe {
        CancelIoEx(handle.as_raw_handle(), &raw const waiting.inner);
        GetOverlappedResult(handle.as_raw_handle(), &raw const waiting.inner, &raw mut count, 1);
    }
    count
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn instance(name: &[u16], first: u32) -> io::Result<OwnedHandle> {
    let descriptor = Descriptor::private()?;
    let attributes = descriptor.attributes();
    // SAFETY: the name ends with a zero; the attributes and what they lead to outlive the call.
    owned(unsafe {
        CreateNamedPipeW(
            name.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | first,
            PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES,
            ROOM,
            ROOM,
            0,
            &raw const attributes,
        )
    })
}

/// One who came, or to whom we went.
#[derive(Debug)]
pub struct Pipe {
    handle: OwnedHandle,
    patience: Duration,
}

impl Pipe {
    /// Goes to who listens by a name; waited for is that long, also with every word.
    ///
    /// # Errors
    /// Nobody listens, he is busy all the time, or we may not.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn open(name: &Path, patience: Duration) -> io::Result<Self> {
        let words = wide(name);
        let limit = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX - 1);
        loop {
            // SAFETY: the name ends with a zero.
            let opened = owned(unsafe {
                CreateFileW(
                    words.as_ptr(),
                    GENERIC_READ | GENERIC_WRITE,
                    0,
                    ptr::null(),
                    OPEN_EXISTING,
                    // Who listens learns who we are, and cannot act for us.
                    FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION,
                    ptr::null_mut(),
                )
            });
            match opened {
                Err(error) if is(&error, ERROR_PIPE_BUSY) => {
                    // SAFETY: the name ends with a zero.
                    done(unsafe { WaitNamedPipeW(words.as_ptr(), limit) })?;
                }
                opened => return Ok(Self { handle: opened?, patience }),
            }
        }
    }

    /// Does one thing with bounds: `begin` begins it.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn bounded(&self, begin: impl FnOnce(*mut OVERLAPPED) -> i32) -> io::Result<usize> {
        let mut waiting = Overlapped::new()?;
        match done(begin(&raw mut waiting.inner)) {
            Err(error) if is(&error, ERROR_IO_PENDING) => {}
            answer => answer?,
        }
        let is_done = is_there(waiting.event.as_handle(), self.patience)?;
        if !is_done {
            // What came in this very moment came.
            return match end(&self.handle, &mut waiting) {
                0 => Err(io::ErrorKind::TimedOut.into()),
                count => Ok(count as usize),
            };
        }
        let mut count = 0;
        // SAFETY: the handle is open, and the structure is the one that was waited with.
        done(unsafe {
            GetOverlappedResult(
                self.handle.as_raw_handle(),
                &raw const waiting.inner,
                &raw mut count,
                0,
            )
        })?;
        Ok(count as usize)
    }
}

impl Read for &Pipe {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let room = u32::try_from(into.len()).unwrap_or(u32::MAX);
        let handle = self.handle.as_raw_handle();
        // SAFETY: the handle is open; the buffer is there until the wait with the structure has ended.
        let read = self.bounded(|waiting| unsafe {
            ReadFile(handle, into.as_mut_ptr(), room, ptr::null_mut(), waiting)
        });
        match read {
            // Whoever was at the other end has gone.
            Err(error) if is(&error, ERROR_BROKEN_PIPE) => Ok(0),
            read => read,
        }
    }
}

impl Write for &Pipe {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let length = u32::try_from(from.len()).unwrap_or(u32::MAX);
        let handle = self.handle.as_raw_handle();
        // SAFETY: the handle is open; the buffer is there until the wait with the structure has ended.
        self.bounded(|waiting| unsafe {
            WriteFile(handle, from.as_ptr(), length, ptr::null_mut(), waiting)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self).read(into)
    }
}

impl Write for Pipe {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        (&*self).write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    #[test]
    fn who_comes_is_heard_and_answered_and_who_says_nothing_is_not_waited_for() {
        let name = format!(r"\\.\pipe\packhorse-test-{}", std::process::id());
        let name = Path::new(&name);
        let mut server = PipeServer::listen(name).unwrap();
        // Wine keeps nobody from being the second.
        assert!(crate::is_wine() || PipeServer::listen(name).is_err());
        assert!(server.next(Duration::ZERO).unwrap().is_none());
        let patience = Duration::from_secs(10);
        let mut client = Pipe::open(name, patience).unwrap();
        writeln!(client, "what").unwrap();
        assert!(is_there(server.as_handle(), patience).unwrap());
        let mut came = server.next(patience).unwrap().unwrap();
        let mut line = String::new();
        BufReader::new(&came).read_line(&mut line).unwrap();
        assert_eq!(line, "what\n");
        writeln!(came, "this").unwrap();
        drop(came);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "this\n");
        let _silent = Pipe::open(name, patience).unwrap();
        let came = server.next(Duration::from_millis(10)).unwrap().unwrap();
        let error = (&came).read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
