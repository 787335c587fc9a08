//! Passes open descriptors to another process, over a socket: `SCM_RIGHTS` of unix(7).

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    cmsg_space,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};

/// Descriptors that one message can have: `SCM_MAX_FD`.
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// Sends the bytes and the descriptors with them. There must be bytes.
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = SendAncillaryMessage::ScmRights(descriptors);
    if !descriptors.is_empty() && !control.push(rights) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "too many descriptors"));
    }
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
}

/// Receives bytes and the descriptors that came with them. No bytes: the other end is closed.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        let buffers = &mut [IoSliceMut::new(buffer)];
        recvmsg(&socket, buffers, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptors = Vec::new();
    for received in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = received {
            descriptors.extend(rights);
        }
    }
    if message.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC) {
        return Err(io::Error::new(ErrorKind::InvalidData, "the message does not fit"));
    }
    Ok((message.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read as _, Seek as _, Write as _},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn descriptors_arrive_with_their_bytes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut sent = tempfile::tempfile().unwrap();
        sent.write_all(b"content").unwrap();
        sent.rewind().unwrap();
        send(&ours, b"ab", &[sent.as_fd()]).unwrap();
        drop(ours);
        let mut buffer = [0; 8];
        let (n_bytes, descriptors) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!(&buffer[..n_bytes], b"ab");
        let mut text = String::new();
        File::from(descriptors.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert_eq!(receive(&theirs, &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn too_many_descriptors_are_refused() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let many = vec![ours.as_fd(); MAX_DESCRIPTORS + 1];
        assert_eq!(send(&ours, b"a", &many).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
