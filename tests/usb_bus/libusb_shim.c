/* The thirteen functions of libusb 0.1 that libseabreeze calls, over USB/IP instead of a kernel.
 *
 * Preloaded (LD_PRELOAD) it stands under the unmodified compiled seabreeze. LABCTL_TEST_USBIP names the bus, HOST:PORT
 * with a numeric host. One thread. Structures are those of libusb 0.1's public interface.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct usb_endpoint_descriptor {
    uint8_t bLength, bDescriptorType, bEndpointAddress, bmAttributes;
    uint16_t wMaxPacketSize;
    uint8_t bInterval, bRefresh, bSynchAddress;
    unsigned char *extra;
    int extralen;
};

struct usb_interface_descriptor {
    uint8_t bLength, bDescriptorType, bInterfaceNumber, bAlternateSetting, bNumEndpoints;
    uint8_t bInterfaceClass, bInterfaceSubClass, bInterfaceProtocol, iInterface;
    struct usb_endpoint_descriptor *endpoint;
    unsigned char *extra;
    int extralen;
};

struct usb_interface {
    struct usb_interface_descriptor *altsetting;
    int num_altsetting;
};

struct usb_config_descriptor {
    uint8_t bLength, bDescriptorType;
    uint16_t wTotalLength;
    uint8_t bNumInterfaces, bConfigurationValue, iConfiguration, bmAttributes, MaxPower;
    struct usb_interface *interface;
    unsigned char *extra;
    int extralen;
};

struct usb_device_descriptor {
    uint8_t bLength, bDescriptorType;
    uint16_t bcdUSB;
    uint8_t bDeviceClass, bDeviceSubClass, bDeviceProtocol, bMaxPacketSize0;
    uint16_t idVendor, idProduct, bcdDevice;
    uint8_t iManufacturer, iProduct, iSerialNumber, bNumConfigurations;
};

struct usb_bus;

struct usb_device {
    struct usb_device *next, *prev;
    char filename[PATH_MAX + 1];
    struct usb_bus *bus;
    struct usb_device_descriptor descriptor;
    struct usb_config_descriptor *config;
    void *dev;
    uint8_t devnum;
    unsigned char num_children;
    struct usb_device **children;
};

struct usb_bus {
    struct usb_bus *next, *prev;
    char dirname[PATH_MAX + 1];
    struct usb_device *devices;
    uint32_t location;
    struct usb_device *root_dev;
};

#define MOST_DEVICES 16
#define MOST_ENDPOINTS 16
#define MOST_BYTES 65536
#define ASK_MS 10000
#define HELD_MS 500

/* A device that was seen once stays in its place: seabreeze keeps pointers. */
struct place {
    struct usb_device device;
    struct usb_config_descriptor config;
    struct usb_interface interface;
    struct usb_interface_descriptor setting;
    struct usb_endpoint_descriptor endpoints[MOST_ENDPOINTS];
};

typedef struct usb_dev_handle {
    struct place *place;
    int line;
    uint32_t number;
} usb_dev_handle;

static struct usb_bus the_bus;
static struct place places[MOST_DEVICES];
static int seen;

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000L + t.tv_nsec / 1000000L;
}

static int receive(int line, void *into, size_t size, long end_ms)
{
    char *at = into;
    while (size > 0) {
        struct pollfd ready = {line, POLLIN, 0};
        long left = end_ms - now_ms();
        if (left < 0 || poll(&ready, 1, left > INT_MAX ? INT_MAX : (int)left) <= 0)
            return -ETIMEDOUT;
        ssize_t got = recv(line, at, size, 0);
        if (got <= 0)
            return -ENODEV;
        at += got;
        size -= (size_t)got;
    }
    return 0;
}

static int transmit(int line, const void *from, size_t size)
{
    const char *at = from;
    while (size > 0) {
        ssize_t sent = send(line, at, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return -ENODEV;
        at += sent;
        size -= (size_t)sent;
    }
    return 0;
}

static int reach(void)
{
    char host[64];
    int port = 0, on = 1;
    const char *address = getenv("LABCTL_TEST_USBIP");
    if (address == NULL || sscanf(address, "%63[^:]:%d", host, &port) != 2)
        return -ENODEV;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1 || connect(line, (struct sockaddr *)&to, sizeof to) < 0) {
        close(line);
        return -ENODEV;
    }
    setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return line;
}

static void put16(unsigned char *at, uint16_t value) { value = htons(value); memcpy(at, &value, 2); }
static void put32(unsigned char *at, uint32_t value) { value = htonl(value); memcpy(at, &value, 4); }
static uint32_t get32(const unsigned char *at) { uint32_t value; memcpy(&value, at, 4); return ntohl(value); }
static uint16_t get16(const unsigned char *at) { return (uint16_t)(at[0] << 8 | at[1]); }

/* One transfer; setup is NULL for a bulk one. Returns the number of bytes that went, or a negative error. */
static int transfer(usb_dev_handle *h, int endpoint, int in, const unsigned char *setup, void *data, int size,
                    long timeout_ms)
{
    unsigned char head[48];
    uint32_t number = ++h->number, withdrawn = 0;
    if (h->line < 0)
        return -ENODEV;
    memset(head, 0, sizeof head);
    put32(head, 1);
    put32(head + 4, number);
    put32(head + 12, (uint32_t)in);
    put32(head + 16, (uint32_t)(endpoint & 0x0F));
    put32(head + 24, (uint32_t)size);
    if (setup != NULL)
        memcpy(head + 40, setup, 8);
    if (transmit(h->line, head, sizeof head) < 0 || (!in && transmit(h->line, data, (size_t)size) < 0))
        return -ENODEV;
    for (;;) {
        int failed = receive(h->line, head, sizeof head, now_ms() + (withdrawn ? ASK_MS : timeout_ms));
        if (failed == -ETIMEDOUT && !withdrawn) {
            withdrawn = ++h->number;
            memset(head, 0, sizeof head);
            put32(head, 2);
            put32(head + 4, withdrawn);
            put32(head + 20, number);
            if (transmit(h->line, head, sizeof head) < 0)
                return -ENODEV;
            continue;
        }
        if (failed)
            return failed;
        uint32_t kind = get32(head), of = get32(head + 4);
        int status = (int)get32(head + 20), actual = (int)get32(head + 24);
        if (kind == 4 && of == withdrawn && status != 0)
            return -ETIMEDOUT;
        if (kind != 3 || of != number)
            continue;
        if (in && actual > 0) {
            if (actual > size || receive(h->line, data, (size_t)actual, now_ms() + ASK_MS) < 0)
                return -ENODEV;
        }
        return status < 0 ? status : actual;
    }
}

static int control(usb_dev_handle *h, int kind, int request, int value, int index, void *data, int size)
{
    unsigned char setup[8] = {
        (unsigned char)kind, (unsigned char)request, (unsigned char)value, (unsigned char)(value >> 8),
        (unsigned char)index, (unsigned char)(index >> 8), (unsigned char)size, (unsigned char)(size >> 8),
    };
    return transfer(h, 0, (kind & 0x80) != 0, setup, data, size, 2000);
}

static void take_configuration(struct place *p, const unsigned char *from, int size)
{
    int found = 0;
    for (int at = 0; at + 2 <= size && from[at] > 0; at += from[at]) {
        const unsigned char *part = from + at;
        if (part[1] == 4) {
            p->setting.bInterfaceNumber = part[2];
            p->setting.bNumEndpoints = part[4];
            p->setting.bInterfaceClass = part[5];
        } else if (part[1] == 5 && found < MOST_ENDPOINTS) {
            struct usb_endpoint_descriptor *e = &p->endpoints[found++];
            e->bLength = part[0];
            e->bDescriptorType = part[1];
            e->bEndpointAddress = part[2];
            e->bmAttributes = part[3];
            e->wMaxPacketSize = (uint16_t)(part[4] | part[5] << 8);
            e->bInterval = part[6];
        }
    }
}

static struct place *place_of(const char *bus_id, uint16_t vendor, uint16_t product)
{
    for (int n = 0; n < seen; n++)
        if (strcmp(places[n].device.filename, bus_id) == 0 && places[n].device.descriptor.idProduct == product)
            return &places[n];
    if (seen == MOST_DEVICES)
        return NULL;
    struct place *p = &places[seen++];
    strncpy(p->device.filename, bus_id, sizeof p->device.filename - 1);
    p->device.bus = &the_bus;
    p->device.descriptor = (struct usb_device_descriptor){
        .bLength = 18, .bDescriptorType = 1, .bMaxPacketSize0 = 64, .idVendor = vendor, .idProduct = product,
        .bNumConfigurations = 1};
    p->device.config = &p->config;
    p->config.bNumInterfaces = 1;
    p->config.bConfigurationValue = 1;
    p->config.interface = &p->interface;
    p->interface.altsetting = &p->setting;
    p->interface.num_altsetting = 1;
    p->setting.bLength = 9;
    p->setting.bDescriptorType = 4;
    p->setting.endpoint = p->endpoints;
    return p;
}

void usb_init(void) { strcpy(the_bus.dirname, "001"); }

int usb_find_busses(void) { return 0; }

struct usb_bus *usb_get_busses(void) { return &the_bus; }

int usb_find_devices(void)
{
    unsigned char head[12], one[312], interface[4];
    struct usb_device *last = NULL;
    int line = reach(), before = the_bus.devices != NULL, count = 0;
    the_bus.devices = NULL;
    if (line < 0)
        return before;
    memset(head, 0, sizeof head);
    put16(head, 0x0111);
    put16(head + 2, 0x8005);
    if (transmit(line, head, 8) == 0 && receive(line, head, 12, now_ms() + ASK_MS) == 0)
        count = (int)get32(head + 8);
    while (count-- > 0 && receive(line, one, sizeof one, now_ms() + ASK_MS) == 0) {
        for (int n = 0; n < one[311]; n++)
            if (receive(line, interface, sizeof interface, now_ms() + ASK_MS) < 0)
                break;
        struct place *p = place_of((const char *)one + 256, get16(one + 300), get16(one + 302));
        if (p == NULL)
            break;
        p->device.next = NULL;
        p->device.prev = last;
        p->device.devnum = (uint8_t)get32(one + 292);
        if (last == NULL)
            the_bus.devices = &p->device;
        else
            last->next = &p->device;
        last = &p->device;
    }
    close(line);
    return 1;
}

usb_dev_handle *usb_open(struct usb_device *device)
{
    usb_dev_handle *h = calloc(1, sizeof *h);
    if (h != NULL) {
        h->place = (struct place *)device;
        h->line = -1;
    }
    return h;
}

struct usb_device *usb_device(usb_dev_handle *h) { return &h->place->device; }

int usb_close(usb_dev_handle *h)
{
    if (h->line >= 0)
        close(h->line);
    free(h);
    return 0;
}

/* Who claims the interface attaches the device. Another program that only looks at it is waited for. */
int usb_claim_interface(usb_dev_handle *h, int number)
{
    unsigned char ask[40], reply[8], rest[312], descriptor[512];
    long end = now_ms() + HELD_MS;
    (void)number;
    for (;;) {
        int line = reach();
        if (line < 0)
            return line;
        memset(ask, 0, sizeof ask);
        put16(ask, 0x0111);
        put16(ask + 2, 0x8003);
        strncpy((char *)ask + 8, h->place->device.filename, 31);
        if (transmit(line, ask, sizeof ask) < 0 || receive(line, reply, sizeof reply, now_ms() + ASK_MS) < 0) {
            close(line);
            return -ENODEV;
        }
        uint32_t status = get32(reply + 4);
        if (status == 0 && receive(line, rest, sizeof rest, now_ms() + ASK_MS) == 0) {
            h->line = line;
            break;
        }
        close(line);
        if (status != 1 || now_ms() > end)
            return status == 1 ? -EBUSY : -ENODEV;
        poll(NULL, 0, 10);
    }
    control(h, 0x00, 9, 1, 0, NULL, 0);
    if (control(h, 0x80, 6, 0x0100, 0, descriptor, 18) == 18)
        memcpy(&h->place->device.descriptor, descriptor, 18);
    int size = control(h, 0x80, 6, 0x0200, 0, descriptor, sizeof descriptor);
    if (size > 0)
        take_configuration(h->place, descriptor, size);
    return 0;
}

int usb_reset(usb_dev_handle *h) { return control(h, 0x00, 9, 1, 0, NULL, 0) < 0 ? -EIO : 0; }

int usb_clear_halt(usb_dev_handle *h, unsigned int endpoint)
{
    return control(h, 0x02, 1, 0, (int)endpoint, NULL, 0) < 0 ? -EIO : 0;
}

int usb_bulk_write(usb_dev_handle *h, int endpoint, char *bytes, int size, int timeout_ms)
{
    return transfer(h, endpoint, 0, NULL, bytes, size, timeout_ms);
}

int usb_bulk_read(usb_dev_handle *h, int endpoint, char *bytes, int size, int timeout_ms)
{
    return transfer(h, endpoint, 1, NULL, bytes, size, timeout_ms);
}

int usb_get_string_simple(usb_dev_handle *h, int index, char *text, size_t size)
{
    unsigned char descriptor[255];
    int got = control(h, 0x80, 6, 0x0300 | index, 0x0409, descriptor, sizeof descriptor);
    size_t at = 0;
    if (got < 2)
        return -EIO;
    for (int n = 2; n + 1 < got && at + 1 < size; n += 2)
        text[at++] = (char)descriptor[n];
    text[at] = '\0';
    return (int)at;
}
