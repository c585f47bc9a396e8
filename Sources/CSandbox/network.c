#define _GNU_SOURCE
#include "csandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

// MARK: Namespaces

int csandbox_current_network(void) {
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int csandbox_leave_network(void) { return unshare(CLONE_NEWNET) ? -errno : 0; }

int csandbox_enter_network(int network) { return setns(network, CLONE_NEWNET) ? -errno : 0; }

int csandbox_make_network(void) {
    int here = csandbox_current_network();
    if (here < 0) return here;
    int made = unshare(CLONE_NEWNET) ? -errno : csandbox_current_network();
    if (made >= 0) {
        int error = csandbox_raise_link("lo");
        // Without the way back the thread is of no use any more; its caller learns that from the error.
        if (setns(here, CLONE_NEWNET)) error = -errno;
        if (error) {
            close(made);
            made = error;
        }
    }
    close(here);
    return made;
}

// MARK: Netlink

enum { BUFFER = 4096 };

typedef struct {
    union {
        struct nlmsghdr head;
        char bytes[BUFFER];
    };
    uint32_t length;
} message;

static void begin(message *to, uint16_t type, uint16_t flags, const void *content, uint32_t length) {
    memset(to, 0, sizeof *to);
    to->head.nlmsg_type = type;
    to->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    memcpy(to->bytes + NLMSG_HDRLEN, content, length);
    to->length = NLMSG_HDRLEN + NLMSG_ALIGN(length);
}

static void attribute(message *to, uint16_t type, const void *content, uint32_t length) {
    if (to->length + RTA_SPACE(length) > BUFFER) return;  // No message of this file comes near.
    struct rtattr *attribute = (struct rtattr *)(to->bytes + to->length);
    attribute->rta_type = type;
    attribute->rta_len = (unsigned short)RTA_LENGTH(length);
    if (length) memcpy(RTA_DATA(attribute), content, length);
    to->length += RTA_SPACE(length);
}

static void text(message *to, uint16_t type, const char *content) {
    attribute(to, type, content, (uint32_t)strlen(content) + 1);
}

static void number(message *to, uint16_t type, uint32_t content) { attribute(to, type, &content, sizeof content); }

/// Opens an attribute that holds others; `close_nest` ends it.
static uint32_t open_nest(message *to, uint16_t type) {
    uint32_t at = to->length;
    attribute(to, type, NULL, 0);
    return at;
}

static void close_nest(message *to, uint32_t at) {
    ((struct rtattr *)(to->bytes + at))->rta_len = (unsigned short)(to->length - at);
}

static int netlink(int protocol) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0) return -errno;
    struct timeval limit = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

/// Sends and waits until `answers` acknowledgements came: 0, or the first one's error.
static int exchange(int protocol, const void *bytes, uint32_t length, int answers) {
    int fd = netlink(protocol);
    if (fd < 0) return fd;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int error = sendto(fd, bytes, length, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0 ? -errno : 0;
    union {
        struct nlmsghdr head;
        char bytes[BUFFER];
    } answer;
    while (!error && answers > 0) {
        ssize_t got = recv(fd, answer.bytes, sizeof answer.bytes, 0);
        if (got < 0) {
            if (errno == EINTR) continue;
            error = -errno;
            break;
        }
        uint32_t left = (uint32_t)got;
        for (struct nlmsghdr *head = &answer.head; NLMSG_OK(head, left); head = NLMSG_NEXT(head, left)) {
            if (head->nlmsg_type != NLMSG_ERROR) continue;
            answers--;
            int code = ((struct nlmsgerr *)NLMSG_DATA(head))->error;
            if (code && !error) error = code;
        }
    }
    close(fd);
    return error;
}

static int request(message *message) {
    message->head.nlmsg_len = message->length;
    message->head.nlmsg_flags |= NLM_F_ACK;
    return exchange(NETLINK_ROUTE, message->bytes, message->length, 1);
}

static int device_index(const char *name) {
    int index = (int)if_nametoindex(name);
    return index ? index : -ENODEV;
}

int csandbox_make_pair(const char *name, const char *peer, int peer_network, int mtu) {
    struct ifinfomsg up = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    message message;
    begin(&message, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &up, sizeof up);
    text(&message, IFLA_IFNAME, name);
    number(&message, IFLA_MTU, (uint32_t)mtu);
    uint32_t info = open_nest(&message, IFLA_LINKINFO);
    text(&message, IFLA_INFO_KIND, "veth");
    uint32_t data = open_nest(&message, IFLA_INFO_DATA);
    uint32_t other = open_nest(&message, VETH_INFO_PEER);
    // The peer can't be brought up yet: it has none itself.
    struct ifinfomsg down = {.ifi_family = AF_UNSPEC};
    memcpy(message.bytes + message.length, &down, sizeof down);
    message.length += NLMSG_ALIGN(sizeof down);
    text(&message, IFLA_IFNAME, peer);
    number(&message, IFLA_MTU, (uint32_t)mtu);
    number(&message, IFLA_NET_NS_FD, (uint32_t)peer_network);
    close_nest(&message, other);
    close_nest(&message, data);
    close_nest(&message, info);
    return request(&message);
}

int csandbox_delete_link(const char *name) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
    message message;
    begin(&message, RTM_DELLINK, 0, &link, sizeof link);
    text(&message, IFLA_IFNAME, name);
    return request(&message);
}

int csandbox_raise_link(const char *name) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    message message;
    begin(&message, RTM_NEWLINK, 0, &link, sizeof link);
    text(&message, IFLA_IFNAME, name);
    return request(&message);
}

static uint32_t size_of(int family) { return family == AF_INET6 ? 16 : 4; }

int csandbox_add_address(const char *device, int family, const void *address, int prefix) {
    int index = device_index(device);
    if (index < 0) return index;
    // Nobody else can have the address, so there is no need to wait until nobody objected.
    struct ifaddrmsg content = {.ifa_family = (unsigned char)family, .ifa_prefixlen = (unsigned char)prefix,
                                .ifa_flags = IFA_F_NODAD, .ifa_index = (unsigned)index};
    message message;
    begin(&message, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &content, sizeof content);
    attribute(&message, IFA_LOCAL, address, size_of(family));
    attribute(&message, IFA_ADDRESS, address, size_of(family));
    return request(&message);
}

int csandbox_add_route(const char *device, int family, const void *target, int prefix, const void *gateway) {
    int index = device_index(device);
    if (index < 0) return index;
    struct rtmsg route = {.rtm_family = (unsigned char)family, .rtm_dst_len = (unsigned char)(target ? prefix : 0),
                          .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNICAST,
                          .rtm_scope = gateway || family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                          .rtm_flags = gateway ? RTNH_F_ONLINK : 0};
    message message;
    begin(&message, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route, sizeof route);
    if (target) attribute(&message, RTA_DST, target, size_of(family));
    if (gateway) attribute(&message, RTA_GATEWAY, gateway, size_of(family));
    number(&message, RTA_OIF, (uint32_t)index);
    return request(&message);
}

int csandbox_default_route(int family, char *device) {
    struct rtmsg content = {.rtm_family = (unsigned char)family};
    message question;
    begin(&question, RTM_GETROUTE, NLM_F_DUMP, &content, sizeof content);
    question.head.nlmsg_len = question.length;
    int fd = netlink(NETLINK_ROUTE);
    if (fd < 0) return fd;
    int found = send(fd, question.bytes, question.length, 0) < 0 ? -errno : 0;
    char answer[32768];
    for (int is_done = found != 0; !is_done;) {
        ssize_t got = recv(fd, answer, sizeof answer, 0);
        if (got < 0) {
            if (errno == EINTR) continue;
            if (!found) found = -errno;
            break;
        }
        uint32_t left = (uint32_t)got;
        for (struct nlmsghdr *head = (struct nlmsghdr *)answer; NLMSG_OK(head, left); head = NLMSG_NEXT(head, left)) {
            if (head->nlmsg_type == NLMSG_DONE || head->nlmsg_type == NLMSG_ERROR) is_done = 1;
            if (head->nlmsg_type != RTM_NEWROUTE) continue;
            struct rtmsg *route = NLMSG_DATA(head);
            if (route->rtm_dst_len || route->rtm_type != RTN_UNICAST || route->rtm_table != RT_TABLE_MAIN) continue;
            int length = (int)RTM_PAYLOAD(head);
            for (struct rtattr *part = RTM_RTA(route); RTA_OK(part, length); part = RTA_NEXT(part, length)) {
                if (part->rta_type != RTA_OIF) continue;
                if (if_indextoname(*(unsigned *)RTA_DATA(part), device)) found = 1;
            }
        }
    }
    close(fd);
    return found;
}

int csandbox_shape(const char *device, uint64_t bytes_per_second, uint32_t burst_bytes) {
    int index = device_index(device);
    if (index < 0) return index;
    struct tcmsg content = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_handle = 0x10000,
                            .tcm_parent = TC_H_ROOT};
    message message;
    begin(&message, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &content, sizeof content);
    text(&message, TCA_KIND, "tbf");
    uint32_t options = open_nest(&message, TCA_OPTIONS);
    // The queue holds what flows in 100 ms, and at least some full packets.
    uint64_t queue = bytes_per_second / 10 + burst_bytes;
    struct tc_tbf_qopt shape = {.rate = {.linklayer = TC_LINKLAYER_ETHERNET,
                                         .rate = bytes_per_second > ~0U ? ~0U : (uint32_t)bytes_per_second},
                                .limit = queue > 1U << 30 ? 1U << 30 : (uint32_t)queue};
    attribute(&message, TCA_TBF_PARMS, &shape, sizeof shape);
    if (bytes_per_second > ~0U) attribute(&message, TCA_TBF_RATE64, &bytes_per_second, sizeof bytes_per_second);
    number(&message, TCA_TBF_BURST, burst_bytes);
    close_nest(&message, options);
    return request(&message);
}

// MARK: nftables

static uint32_t append_batch(char *to, uint16_t type) {
    struct nlmsghdr *head = (struct nlmsghdr *)to;
    struct nfgenmsg content = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    memset(to, 0, NLMSG_SPACE(sizeof content));
    head->nlmsg_type = type;
    head->nlmsg_flags = NLM_F_REQUEST;
    head->nlmsg_len = NLMSG_LENGTH(sizeof content);
    memcpy(NLMSG_DATA(head), &content, sizeof content);
    return NLMSG_SPACE(sizeof content);
}

int csandbox_set_element(const char *table, const char *set, const void *key, uint32_t length, uint64_t timeout,
                         int is_removed) {
    enum { NESTED = 0x8000 };
    struct nfgenmsg content = {.nfgen_family = 1 /* NFPROTO_INET */, .version = NFNETLINK_V0};
    message message;
    begin(&message, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (is_removed ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM)),
          (uint16_t)(NLM_F_ACK | (is_removed ? 0 : NLM_F_CREATE)), &content, sizeof content);
    text(&message, NFTA_SET_ELEM_LIST_TABLE, table);
    text(&message, NFTA_SET_ELEM_LIST_SET, set);
    uint32_t list = open_nest(&message, NFTA_SET_ELEM_LIST_ELEMENTS | NESTED);
    uint32_t element = open_nest(&message, NFTA_LIST_ELEM | NESTED);
    uint32_t value = open_nest(&message, NFTA_SET_ELEM_KEY | NESTED);
    attribute(&message, NFTA_DATA_VALUE, key, length);
    close_nest(&message, value);
    if (timeout && !is_removed) {
        uint32_t parts[2] = {htonl((uint32_t)(timeout >> 32)), htonl((uint32_t)timeout)};
        attribute(&message, NFTA_SET_ELEM_TIMEOUT, parts, sizeof parts);
    }
    close_nest(&message, element);
    close_nest(&message, list);
    message.head.nlmsg_len = message.length;
    _Alignas(8) char batch[BUFFER + 64];
    uint32_t total = append_batch(batch, NFNL_MSG_BATCH_BEGIN);
    memcpy(batch + total, message.bytes, message.length);
    total += NLMSG_ALIGN(message.length);
    total += append_batch(batch + total, NFNL_MSG_BATCH_END);
    int error = exchange(NETLINK_NETFILTER, batch, total, 1);
    return error == -EEXIST || (is_removed && error == -ENOENT) ? 0 : error;
}

// MARK: Sockets

int csandbox_serve(int type, const uint8_t address[4], uint16_t port) {
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&to.sin_addr, address, 4);
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    int error = bind(fd, (struct sockaddr *)&to, sizeof to) ? -errno : 0;
    if (!error && type == SOCK_STREAM && listen(fd, 64)) error = -errno;
    if (error) {
        close(fd);
        return error;
    }
    return fd;
}
