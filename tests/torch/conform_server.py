"""Runs conform_host.py a hundred times without importing torch a hundred times.

    conform_server.py serve SOCKET [FOLDER]     imports all once (conform_host.py of FOLDER; beside this), then forks for each call
    conform_server.py call SOCKET ARGUMENTS...  one run: this process's folder, environment and files, its exit status
"""
import array
import os
import pathlib
import signal
import socket
import sys


def serve(path, folder=pathlib.Path(__file__).parent):
    import torch
    import torch._dynamo  # what the first optimizer imports

    sys.path.insert(0, str(folder))
    import conform_host

    torch.set_num_threads(1)  # threads do not survive fork
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(8)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os._exit(answer(connection, conform_host))
        connection.close()


def answer(connection, conform_host):
    """In a child: runs the work in a child of its own and tells how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    room = socket.CMSG_SPACE(3 * array.array("i").itemsize)
    message, ancillary, _, _ = connection.recvmsg(1 << 20, room)
    files = array.array("i")
    files.frombytes(ancillary[0][2])
    folder, environment, *arguments = message.decode().split("\0")
    worker = os.fork()
    if worker == 0:
        status = 1
        try:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(line.split("=", 1) for line in environment.split("\1") if line)
            for to, fd in enumerate(files):
                os.dup2(fd, to)
            conform_host.main(arguments)
            status = 0
        except SystemExit as e:
            if isinstance(e.code, str):
                print(e.code, file=sys.stderr)
            status = e.code if isinstance(e.code, int) else 1
        except BaseException:  # noqa: BLE001
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    _, status = os.waitpid(worker, 0)
    code = os.waitstatus_to_exitcode(status)
    connection.send(str(code if code >= 0 else 128 - code).encode())
    return 0


def call(path, arguments):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    environment = "\1".join(f"{k}={v}" for k, v in os.environ.items())
    message = "\0".join([os.getcwd(), environment, *arguments]).encode()
    connection.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]).tobytes())])
    return int(connection.recv(16) or b"1")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    else:
        sys.exit(call(sys.argv[2], sys.argv[3:]))
