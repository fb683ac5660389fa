#!/bin/sh -e
# Topology A: the PBX and the database on the same two hosts. Printed by
#     duotone pacemaker-config --pcs
# from examples/duotone.toml with a [fence] of two IPMI boards.
# The pair office under Pacemaker, for pcs 0.11
pcs property set stonith-enabled=true no-quorum-policy=stop
pcs resource defaults update resource-stickiness=1000 migration-threshold=3 failure-timeout=60s
pcs stonith create fence-pbx-b-ipmi fence_ipmilan \
    username=duotone \
    lanplus=1 \
    ip=10.9.1.12 \
    password=CONTENT-OF-/etc/duotone/ipmi.password \
    pcmk_host_list=pbx-b \
    op monitor timeout=60s interval=60s
pcs constraint location fence-pbx-b-ipmi avoids pbx-b
pcs stonith create fence-pbx-a-ipmi fence_ipmilan \
    username=duotone \
    lanplus=1 \
    ip=10.9.1.11 \
    password=CONTENT-OF-/etc/duotone/ipmi.password \
    pcmk_host_list=pbx-a \
    op monitor timeout=60s interval=60s
pcs constraint location fence-pbx-a-ipmi avoids pbx-a
pcs resource create duotone-db ocf:duotone:postgres \
    data_dir=/var/lib/postgresql/15/main \
    bin_dir=/usr/lib/postgresql/15/bin \
    hosts='pbx-a=10.9.0.1 pbx-b=10.9.0.2' \
    op start timeout=3600s \
    op stop timeout=120s \
    op promote timeout=60s \
    op demote timeout=120s \
    op monitor timeout=30s interval=10s role=Promoted \
    op monitor timeout=30s interval=11s role=Unpromoted \
    op monitor timeout=30s interval=30s role=Promoted OCF_CHECK_LEVEL=10 \
    op notify timeout=60s
pcs resource promotable duotone-db duotone-db-clone meta promoted-max=1 promoted-node-max=1 clone-max=2 clone-node-max=1 notify=true interleave=true
pcs resource create duotone-kamailio ocf:duotone:pbx \
    command='/usr/sbin/kamailio -DD -E -f /etc/kamailio/kamailio.cfg' \
    probes=sip-udp:127.0.0.1:5060 \
    stop_timeout=5s \
    op start timeout=60s \
    op stop timeout=30s \
    op monitor timeout=20s interval=10s \
    op monitor timeout=20s interval=15s OCF_CHECK_LEVEL=10
pcs resource create duotone-address ocf:duotone:floating \
    interface=eth0 \
    addresses='192.0.2.10/24 2001:db8::10/64' \
    gateways=192.0.2.1 \
    op start timeout=20s \
    op stop timeout=20s \
    op monitor timeout=20s interval=10s \
    op monitor timeout=20s interval=30s OCF_CHECK_LEVEL=10
pcs resource clone duotone-kamailio duotone-kamailio-clone interleave=true
pcs resource group add duotone-main duotone-address
pcs constraint colocation add duotone-main with Promoted duotone-db-clone INFINITY
pcs constraint order promote duotone-db-clone then start duotone-main kind=Mandatory
pcs constraint colocation add duotone-main with duotone-kamailio-clone INFINITY
pcs constraint order duotone-kamailio-clone then duotone-main kind=Mandatory
