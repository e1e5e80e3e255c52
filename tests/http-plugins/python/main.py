# plugin-example/main.py

from flask import Flask, request, jsonify
import requests
import os

app = Flask(__name__)

config = {}

@app.route('/health')
def health():
    return jsonify({
        'status': 'healthy',
        'ready': True,
        'version': '1.0.0'
    })

@app.route('/manifest')
def manifest():
    return jsonify({
        'id': 'example',
        'name': 'Example Plugin',
        'version': '1.0.0',
        'description': 'A minimal example plugin',
        'priority': 50,
        'queue': 'fast',
        'timeout': 10000,
        'dependencies': ['file-info'],
        'filter': {
            'mimeTypes': ['video/*']
        },
        'configSchema': {},
        'dataSchema': {
            'example/processed': {
                'label': 'Processed',
                'type': 'string',
                'readonly': True
            }
        },
        'ui': {
            'color': '#9C27B0'
        }
    })

@app.route('/configure', methods=['POST'])
def configure():
    global config
    config = request.json or {}
    return jsonify({'success': True})

@app.route('/process', methods=['POST'])
def process():
    data = request.json
    task_id = data['taskId']
    cid = data['cid']
    file_path = data['filePath']
    callback_url = data['callbackUrl']
    meta_core_url = data['metaCoreUrl']

    # Process asynchronously
    import threading
    threading.Thread(
        target=process_file,
        args=(task_id, cid, file_path, callback_url, meta_core_url)
    ).start()

    return jsonify({
        'status': 'accepted',
        'taskId': task_id
    })

def process_file(task_id, cid, file_path, callback_url, meta_core_url):
    import time
    start = time.time()

    try:
        # Do actual processing here
        # For example: read file, extract metadata

        # Write to meta-core
        requests.patch(
            f'{meta_core_url}/meta/{cid}',
            json={
                'example/processed': 'true',
                'example/timestamp': str(int(time.time()))
            }
        )

        # Send success callback
        duration = int((time.time() - start) * 1000)
        requests.post(callback_url, json={
            'taskId': task_id,
            'pluginId': 'example',
            'cid': cid,
            'status': 'completed',
            'duration': duration
        })

    except Exception as e:
        # Send failure callback
        duration = int((time.time() - start) * 1000)
        requests.post(callback_url, json={
            'taskId': task_id,
            'pluginId': 'example',
            'cid': cid,
            'status': 'failed',
            'error': str(e),
            'duration': duration
        })

if __name__ == '__main__':
    app.run(host='0.0.0.0', port=8080)
