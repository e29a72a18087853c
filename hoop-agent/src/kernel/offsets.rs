//! The struct members that the kernel programs read.

use hoop_common::event::Offsets;

use super::btf::{Btf, BtfError};

/// Looks every offset up.
///
/// # Errors
///
/// When the running kernel lacks one of them. Nothing is guessed.
pub fn find(btf: &Btf) -> Result<Offsets, BtfError> {
    let at = |name: &str, member: &str| btf.offset_of(name, member);
    // Linux 6.1 replaced the ids by pointers.
    let (ancestors, ancestor_ids) = match at("cgroup", "ancestors") {
        Ok(offset) => (offset, 0),
        Err(_) => (0, at("cgroup", "ancestor_ids")?),
    };
    // All or none: before Linux 6.0 a request has no `cmd`, which is at offset 0 later.
    let ring = || {
        Ok::<_, BtfError>([
            at("io_kiocb", "opcode")?,
            at("io_kiocb", "cmd")?,
            at("io_socket", "domain")?,
            at("io_socket", "type")?,
            at("io_socket", "protocol")?,
        ])
    };
    let [opcode, cmd, domain, r#type, protocol] = ring().unwrap_or_default();
    Ok(Offsets {
        task_struct_pid: at("task_struct", "pid")?,
        task_struct_tgid: at("task_struct", "tgid")?,
        task_struct_start_boottime: at("task_struct", "start_boottime")?,
        task_struct_group_leader: at("task_struct", "group_leader")?,
        task_struct_real_parent: at("task_struct", "real_parent")?,
        task_struct_mm: at("task_struct", "mm")?,
        task_struct_fs: at("task_struct", "fs")?,
        task_struct_cred: at("task_struct", "cred")?,
        task_struct_nsproxy: at("task_struct", "nsproxy")?,
        task_struct_signal: at("task_struct", "signal")?,
        task_struct_exit_code: at("task_struct", "exit_code")?,
        task_struct_cgroups: at("task_struct", "cgroups")?,
        task_struct_thread_pid: at("task_struct", "thread_pid")?,
        signal_struct_live: at("signal_struct", "live")?,
        css_set_dfl_cgrp: at("css_set", "dfl_cgrp")?,
        cgroup_kn: at("cgroup", "kn")?,
        cgroup_level: at("cgroup", "level")?,
        cgroup_ancestors: ancestors,
        cgroup_ancestor_ids: ancestor_ids,
        kernfs_node_id: at("kernfs_node", "id")?,
        mm_struct_arg_start: at("mm_struct", "arg_start")?,
        mm_struct_arg_end: at("mm_struct", "arg_end")?,
        mm_struct_exe_file: at("mm_struct", "exe_file")?,
        file_f_path: at("file", "f_path")?,
        fs_struct_pwd: at("fs_struct", "pwd")?,
        path_mnt: at("path", "mnt")?,
        path_dentry: at("path", "dentry")?,
        dentry_d_parent: at("dentry", "d_parent")?,
        dentry_d_name_name: at("dentry", "d_name.name")?,
        dentry_d_name_len: at("dentry", "d_name.len")?,
        vfsmount_mnt_root: at("vfsmount", "mnt_root")?,
        mount_mnt: at("mount", "mnt")?,
        mount_mnt_parent: at("mount", "mnt_parent")?,
        mount_mnt_mountpoint: at("mount", "mnt_mountpoint")?,
        cred_uid: at("cred", "uid")?,
        cred_gid: at("cred", "gid")?,
        cred_euid: at("cred", "euid")?,
        cred_egid: at("cred", "egid")?,
        cred_user_ns: at("cred", "user_ns")?,
        nsproxy_uts_ns: at("nsproxy", "uts_ns")?,
        nsproxy_ipc_ns: at("nsproxy", "ipc_ns")?,
        nsproxy_mnt_ns: at("nsproxy", "mnt_ns")?,
        nsproxy_net_ns: at("nsproxy", "net_ns")?,
        nsproxy_cgroup_ns: at("nsproxy", "cgroup_ns")?,
        pid_level: at("pid", "level")?,
        pid_numbers: at("pid", "numbers")?,
        upid_size: btf.size_of("upid")?,
        upid_ns: at("upid", "ns")?,
        pid_namespace_ns_inum: at("pid_namespace", "ns.inum")?,
        uts_namespace_ns_inum: at("uts_namespace", "ns.inum")?,
        ipc_namespace_ns_inum: at("ipc_namespace", "ns.inum")?,
        mnt_namespace_ns_inum: at("mnt_namespace", "ns.inum")?,
        net_ns_inum: at("net", "ns.inum")?,
        user_namespace_ns_inum: at("user_namespace", "ns.inum")?,
        user_namespace_level: at("user_namespace", "level")?,
        mount_mnt_ns: at("mount", "mnt_ns")?,
        mnt_namespace_user_ns: at("mnt_namespace", "user_ns")?,
        cgroup_namespace_ns_inum: at("cgroup_namespace", "ns.inum")?,
        linux_binprm_file: at("linux_binprm", "file")?,
        inode_i_sb: at("inode", "i_sb")?,
        super_block_s_magic: at("super_block", "s_magic")?,
        vfsmount_mnt_sb: at("vfsmount", "mnt_sb")?,
        socket_sk: at("socket", "sk")?,
        sock_common_skc_family: at("sock_common", "skc_family")?,
        sock_common_skc_daddr: at("sock_common", "skc_daddr")?,
        sock_common_skc_rcv_saddr: at("sock_common", "skc_rcv_saddr")?,
        sock_common_skc_dport: at("sock_common", "skc_dport")?,
        sock_common_skc_num: at("sock_common", "skc_num")?,
        sock_common_skc_v6_daddr: at("sock_common", "skc_v6_daddr")?,
        sock_common_skc_v6_rcv_saddr: at("sock_common", "skc_v6_rcv_saddr")?,
        // Where Unix sockets are a module, its type information is elsewhere.
        unix_sock_path: at("unix_sock", "path").unwrap_or(0),
        io_kiocb_opcode: opcode,
        io_kiocb_cmd: cmd,
        io_socket_domain: domain,
        io_socket_type: r#type,
        io_socket_protocol: protocol,
        task_struct_files: at("task_struct", "files")?,
        files_struct_fdt: at("files_struct", "fdt")?,
        fdtable_max_fds: at("fdtable", "max_fds")?,
        fdtable_fd: at("fdtable", "fd")?,
        file_f_inode: at("file", "f_inode")?,
        file_private_data: at("file", "private_data")?,
        inode_i_ino: at("inode", "i_ino")?,
        sock_sk_socket: at("sock", "sk_socket")?,
        socket_alloc_socket: at("socket_alloc", "socket")?,
        socket_alloc_vfs_inode: at("socket_alloc", "vfs_inode")?,
        unix_sock_peer: at("unix_sock", "peer").unwrap_or(0),
    })
}
